"""Toybox: a procedural world of toys to learn a prior from, and to measure results against.

Start at `catalogue.py` (which toys there are), `geometry.py` (their shapes), `scenes.py` (random
scenes) and `render.py` (their images). Overview: docs/toybox.md.
"""
