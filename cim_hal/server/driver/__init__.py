"""The driver, guarded, in its own process."""
