"""This machine: local server, Ray, progress bars, signals."""
