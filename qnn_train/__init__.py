"""Quantized neural networks, trained with an Ising machine as oracle (arXiv:2506.18240)."""
