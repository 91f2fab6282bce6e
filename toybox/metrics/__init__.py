"""How well an asset fits a toy whose truth is known."""
