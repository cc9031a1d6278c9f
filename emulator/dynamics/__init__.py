"""Physics of machines: one file per dynamics."""
