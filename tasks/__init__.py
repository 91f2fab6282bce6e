"""Thin Prefect tasks: each calls one function of the core and returns a small JSON manifest."""

from stabledreamer.runtime import prefect_home as prefect_home  # before Prefect
