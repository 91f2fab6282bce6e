"""DeepFloyd IF's first stage: a UNet on 64 x 64 pixels, which learned its variance as well."""

from stabledreamer_core.priors.families.family import Family
from stabledreamer_core.priors.families.stable_diffusion import FAMILY as STABLE_DIFFUSION
from stabledreamer_core.priors.families.stable_diffusion import call, embed

COMPONENTS = ("tokenizer", "text_encoder", "unet", "scheduler")

FAMILY = Family(
    space="pixel",
    components={part: STABLE_DIFFUSION.components[part] for part in COMPONENTS},
    embed=embed,
    call=call,
    denoiser="unet",
    openvino=True,
    any_size=True,
)
