"""The pipelines that can be a prior, a file each; docs/extending.md says how to add one."""

from stabledreamer_core.priors.families import (
    deepfloyd_if,
    flux2_klein,
    pixart_sigma,
    prx,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from stabledreamer_core.priors.families.family import Family

FAMILIES: dict[str, Family] = {
    "IFPipeline": deepfloyd_if.FAMILY,
    "StableDiffusionPipeline": stable_diffusion.FAMILY,
    "StableDiffusion3Pipeline": stable_diffusion_3.FAMILY,
    "StableDiffusionXLPipeline": stable_diffusion_xl.FAMILY,
    "PixArtSigmaPipeline": pixart_sigma.FAMILY,
    "SanaPipeline": sana.FAMILY,
    "Flux2KleinPipeline": flux2_klein.FAMILY,
    "PRXPipeline": prx.LATENT,
    "PRXPixelPipeline": prx.PIXEL,
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
