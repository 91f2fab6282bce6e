"""Gaussians, cameras, and pictures of one by the other."""
