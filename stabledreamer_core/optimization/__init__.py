"""Render, target, loss, step: the loop, and what keeps it going."""
