"""The CPU backend (for now the reference in single precision)."""

from stabledreamer_core.rasterize.reference import rasterization as rasterization
