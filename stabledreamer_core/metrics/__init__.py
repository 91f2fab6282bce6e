"""Metrics that need no toy."""
