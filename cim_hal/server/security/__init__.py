"""Authentication of clients, and limits for their connections."""
