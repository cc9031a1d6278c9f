"""Couplings as the server keeps them: content, formats, store, uploads."""
