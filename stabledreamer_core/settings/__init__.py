"""Settings: typed, with YAML laid over them."""
