"""A coherent Ising machine made of equations."""
