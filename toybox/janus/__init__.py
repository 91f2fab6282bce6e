"""The Janus benchmark: how often a prior makes toys with a second face (docs/janus.md)."""
