"""Bridges to other packages, a module each, which needs that package: an extra of its name."""
