"""The pipelines: what runs after what. Each flow reads from top to bottom."""

from stabledreamer.runtime import prefect_home as prefect_home  # before Prefect
