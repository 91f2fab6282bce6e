"""The pipelines that can be a prior, a file each; docs/extending.md says how to add one."""

from stabledreamer_core.priors.families import deepfloyd_if, stable_diffusion
from stabledreamer_core.priors.families.family import Family

FAMILIES: dict[str, Family] = {
    "IFPipeline": deepfloyd_if.FAMILY,
    "StableDiffusionPipeline": stable_diffusion.FAMILY,
}

# Their guidance is baked in: they make no prediction without a prompt to guide away from.
DISTILLED = (
    "FluxPipeline",
    "Flux2Pipeline",
    "Flux2KleinKVPipeline",
    "LatentConsistencyModelPipeline",
    "SanaSprintPipeline",
)

__all__ = ["DISTILLED", "FAMILIES", "Family"]
