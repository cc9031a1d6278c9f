"""Trained networks in files: `.npz` without pickle, and ONNX."""
