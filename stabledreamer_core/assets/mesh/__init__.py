"""A closed, coloured mesh from what the Gaussians show."""
