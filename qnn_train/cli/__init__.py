"""The parts of the command ``qnn-train``; only they and ``__main__`` print."""
