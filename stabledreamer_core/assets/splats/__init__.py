"""The Gaussians in files that other programs open: one file a format."""
