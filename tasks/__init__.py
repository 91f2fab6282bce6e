"""Thin Prefect tasks: each calls one function of the core and returns a small JSON manifest."""
