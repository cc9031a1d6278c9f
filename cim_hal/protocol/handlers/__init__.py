"""What the server does for each kind of request."""
