"""Products of couplings and codes, one module per kind of product."""
