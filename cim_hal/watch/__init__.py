"""Monitoring of a server: web pages, metrics, and a screen in the terminal."""
