"""What every section of the settings is."""

from pydantic import BaseModel, ConfigDict

Pair = tuple[float, float]


class Section(BaseModel):
    """A section of params.yaml: frozen, complete, nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )
