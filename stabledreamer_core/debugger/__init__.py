"""What the prior wants, as pictures."""
