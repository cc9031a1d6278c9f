"""Looking at a server without touching it: pages, metrics, and a view in the terminal."""
