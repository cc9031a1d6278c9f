"""Who may connect, and how much a connection may hold."""
