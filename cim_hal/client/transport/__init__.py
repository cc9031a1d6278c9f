"""Transports to a server: in this process, through bytes, through ZeroMQ."""
