"""A diffusion prior: one interface to all families, the Toybox priors among them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.memory import halve_on_oom
from stabledreamer_core.priors import acceleration as fast
from stabledreamer_core.priors import text
from stabledreamer_core.priors.description import describe
from stabledreamer_core.priors.embedding_file import missing_prompts, read_embeddings
from stabledreamer_core.priors.identity import check_manifest, folder_hash, text_hash
from stabledreamer_core.priors.layout import read_family
from stabledreamer_core.priors.memory_plan import plan_folder
from stabledreamer_core.priors.models import as_damaged_network, choose_dtype
from stabledreamer_core.priors.networks import Networks
from stabledreamer_core.priors.openvino_unet import check_openvino, load_openvino_unet
from stabledreamer_core.priors.schedule import to_eps
from stabledreamer_core.priors.source import find_file, find_folder

# A batch of 8 falls out of a laptop's caches where two of 4 do not (docs/real-weights.md).
CPU_CHUNK = 4


def load_prior(
    source: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    device: torch.device | str = "cpu",
    base: Path | None = None,
    dtype: str = "auto",
    chunk: int | None = None,
    cache_dir: Path | None = None,
    engine: Literal["torch", "openvino"] = "torch",
    acceleration: fast.Acceleration = "auto",
    embeddings: Path | str | None = None,
) -> "Prior":
    """Open a prior; load its networks when they are first needed.

    Args:
        source: a folder as `DiffusionPipeline.save_pretrained` writes it (relative ones are
            looked up from the current folder, then from `base`), or a hub id.
        revision: of a hub id: best a commit.
        variant: infix of the weights' file names, such as "fp16".
        base: where a relative folder is looked for after the current one; None: nowhere else.
        dtype: "auto" (`models.choose_dtype`), "float32", "float16", "bfloat16" or "float64".
        chunk: most samples that pass the UNet at once; None: 4 on the CPU, all on a GPU.
        cache_dir: where embeddings are kept between runs; None: in memory alone.
        engine: "torch", or "openvino", which runs the UNet in `dtype` on a CPU; the other networks
            then run in float32.
        acceleration: "none", "graphs" (CUDA graphs), "compile" (torch.compile and graphs: a minute
            or more the first time, kept in `cache_dir`), or "auto": graphs on a GPU.
        embeddings: a file of embeddings (embedding_file.py), in place of the text encoder, which
            then need not be there; relative ones are looked up as `source` is.

    Raises:
        UserError: one line: the folder is missing or damaged, the pipeline is of another kind,
            the hub model is neither cached nor reachable (within seconds, without retrying), or
            the engine is missing here.
    """
    device = torch.device(device)
    folder = find_folder(source, revision, variant, base, text=embeddings is None)
    check_manifest(folder)
    chosen = choose_dtype(dtype, variant, device)
    if engine == "torch":
        how = "none" if device.type == "cpu" else acceleration
        most = CPU_CHUNK if chunk is None and device.type == "cpu" else (chunk or 0)
        prior = Prior(folder, variant, device, chosen, most, cache_dir, acceleration=how)
        if embeddings is not None:
            prior.take_embeddings(find_file(embeddings, base))
        if device.type == "cuda":
            prior.fit_memory(chunk)
        return prior
    if chunk is None:
        chunk = CPU_CHUNK
    name, family = read_family(folder)
    if not family.openvino:
        raise UserError(f"engine openvino does not run a {name}: set engine to torch")
    check_openvino(device, chosen)
    return Prior(folder, variant, device, torch.float32, chunk, cache_dir, openvino_dtype=chosen)


class Prior:
    """A frozen text-to-image diffusion model; see `load_prior`.

    Attributes:
        space: "pixel" (it denoises images in [-1, 1]) or "latent" (a VAE's latents).
        resolution: side of its images in pixels.
        sample_shape: (C, H, W) of what it denoises.
        schedule: its noise levels, float32 (float64 beside networks in float64) on `device`.
        dtype, device: what its networks run in and on.
    """

    def __init__(
        self,
        folder: Path,
        variant: str | None,
        device: torch.device,
        dtype: torch.dtype,
        chunk: int = 0,
        cache_dir: Path | None = None,
        openvino_dtype: torch.dtype | None = None,
        acceleration: fast.Acceleration = "none",
    ):
        described = describe(folder, dtype)
        self._family, self.space = described.family, described.family.space
        self.folder, self.variant, self.device, self.dtype = folder, variant, device, dtype
        self.chunk, self.cache_dir = chunk, cache_dir
        self.sample_shape, self.resolution = described.sample_shape, described.resolution
        self._scaling_factor, self._shift_factor = described.scaling_factor, described.shift_factor
        self.schedule = described.schedule.to(device)
        self._prediction_type = described.prediction_type
        self._networks = Networks(
            *(folder, self._family, variant, device, dtype, acceleration),
            compiled=cache_dir / "compiled" if cache_dir else None,
            unet=self._openvino_unet(openvino_dtype) if openvino_dtype else None,
        )
        self._embeddings: dict[str, Tensor] = {}
        self._embeddings_file: Path | None = None
        self._text_place = text.Place(device, dtype)
        self._vae_slices = False
        self._hash: str | None = None

    @property
    def hash(self) -> str:
        """Return `prior_hash` of the folder this prior was loaded from."""
        if self._hash is None:
            self._hash = folder_hash(self.folder)
        return self._hash

    def take_embeddings(self, path: Path) -> None:
        """Take prompts' embeddings from a file, and no others from then on.

        Raises:
            UserError: it is missing, damaged or of another prior.
        """
        self._embeddings |= read_embeddings(path, self.folder)
        self._embeddings_file = path

    def fit_memory(self, chunk: int | None = None) -> None:
        """Choose, for a GPU, where text is embedded and how many samples run at once.

        Networks so small that any card holds them, as the bundled ones, are left as they are.

        Args:
            chunk: keep this in place of the plan's.

        Raises:
            UserError: the networks do not fit.
        """
        how = (self.folder, self.variant, self.dtype, self.device, self.resolution)
        sizes, plan = plan_folder(*how, text=self._embeddings_file is None)
        if plan is None:
            return
        self.chunk, self._vae_slices = plan.chunk if chunk is None else chunk, plan.vae_slices
        if plan.text == "CPU":
            self._text_place = text.cpu_place(sizes.text, self.dtype)
        elif plan.text == "8 bit":
            self._text_place = text.Place(self.device, self.dtype, eight_bit=True)

    def check_size(self, side: int) -> None:
        """Raise a UserError unless it can be asked about images of `side` pixels."""
        pixels = self.resolution // self.sample_shape[1]
        if side % pixels or (side != self.resolution and not self._family.any_size):
            sizes = f"multiples of {pixels}" if self._family.any_size else "no others"
            raise UserError(
                f"the prior {self.folder.name} is asked about images of {side} pixels: it was made"
                f" for {self.resolution}, and takes {sizes}; set resolution to {self.resolution}"
            )

    def embed(self, prompts: list[str]) -> Tensor:
        """Embed prompts as the pipeline's `encode_prompt` does: [B, L, D], float32 on `device`.

        The text encoder is loaded for prompts not seen before and freed again; the other
        networks leave memory meanwhile. Each prompt is embedded by itself, then kept.
        """
        unseen = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._embeddings]
        unseen = [prompt for prompt in unseen if not self._embedding_from_disk(prompt)]
        if unseen and self._embeddings_file is not None:
            raise missing_prompts(self._embeddings_file, unseen)
        if unseen:
            self.release()
            place = self._text_place
            encoded = text.encode_prompts(
                *(self.folder, unseen, self.variant, place.dtype, place.device, place.eight_bit)
            )
            self._embeddings |= encoded
            if self.cache_dir is not None:
                for prompt, embedding in encoded.items():
                    text.write_embedding(self._embedding_path(prompt), embedding)
        stacked = torch.stack([self._embeddings[prompt] for prompt in prompts])
        return stacked.to(self.device, torch.promote_types(self.dtype, torch.float32))

    @torch.no_grad()
    def predict_eps(self, x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """Predict the noise in x_t, without gradient.

        Args:
            x_t: [B, C, H, W] noised images in [-1, 1] or latents.
            timesteps: [B] integers in [0, T).
            embeddings: [B, L, D] from `embed`.

        Returns:
            eps [B, C, H, W] in x_t's dtype; the variance channels of IF are dropped, v- and
            sample-prediction converted.

        A batch that does not fit into a GPU's memory is split into smaller chunks from then on.
        """
        call, prediction = self._networks.denoiser(), torch.empty_like(x_t)

        def ask(size: int) -> None:
            for start in range(0, len(x_t), size):
                rows = slice(start, start + size)
                with torch.inference_mode(), as_damaged_network(self.folder, self._family.denoiser):
                    output = call(*self._inputs(x_t[rows], timesteps[rows], embeddings[rows]))
                # Copied out of inference mode, the result may take part in a loss.
                prediction[rows] = output[:, : x_t.shape[1]].to(x_t.dtype)

        whole = self.chunk or max(len(x_t), 1)
        _, fitting = halve_on_oom(ask, whole, "samples of the prior")
        if fitting < whole:
            self.chunk = fitting
        return to_eps(prediction, x_t, *self.schedule.at(timesteps), self._prediction_type)

    def begin_lora(self, rank: int, random: torch.Generator) -> Tensor:
        """Draw the weights [P] of a LoRA (lora.py) that changes nothing yet."""
        weights = self._networks.lora(rank).begin(random)
        return weights.to(self.device, torch.promote_types(self.dtype, torch.float32))

    def lora_eps(
        self, weights: Tensor, rank: int, x_t: Tensor, timesteps: Tensor, embeddings: Tensor
    ) -> Tensor:
        """Predict as `predict_eps` with a LoRA, whole, differentiable in its weights [P]."""
        with as_damaged_network(self.folder, self._family.denoiser):
            output = self._networks.lora(rank)(weights, *self._inputs(x_t, timesteps, embeddings))
        prediction = output[:, : x_t.shape[1]].to(x_t.dtype)
        return to_eps(prediction, x_t, *self.schedule.at(timesteps), self._prediction_type)

    def encode(self, images: Tensor) -> Tensor:
        """Encode images [B, 3, H, W] in [0, 1] to what the prior denoises, in their dtype.

        Pixel: 2 x - 1. Latent: the mean of the VAE's posterior, shifted and scaled.
        Differentiable.
        """
        if self.space == "pixel":
            return 2 * images - 1
        layout = self._networks.layout("vae")
        pixels = (2 * images - 1).to(self._network("vae").dtype, memory_format=layout)
        with as_damaged_network(self.folder, "vae"):
            encode = self._networks.encoder(pixels.requires_grad, self._vae_slices)
            latents = encode(pixels).to(images.dtype)
        return (latents - self._shift_factor) * self._scaling_factor

    def decode(self, x: Tensor) -> Tensor:
        """Decode to images [B, 3, H, W], clamped to [0, 1]: the inverse of `encode`."""
        if self.space == "latent":
            vae = self._network("vae")
            latents = (x / self._scaling_factor + self._shift_factor).to(vae.dtype)
            x = self._family.decode(vae, latents).to(x.dtype)
        return ((x + 1) / 2).clamp(0, 1)

    def release(self) -> None:
        """Free the networks; they are loaded again when next needed."""
        if self._networks.release():
            text.release_memory(self.device)

    def _network(self, component: str) -> Any:
        return self._networks.get(component)

    def _inputs(self, x_t: Tensor, timesteps: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """Return what the denoiser takes, in its dtype and layout."""
        x_t = x_t.to(self.dtype, memory_format=self._networks.layout(self._family.denoiser))
        return x_t, self.schedule.timesteps[timesteps], words.to(self.dtype)

    def _openvino_unet(self, dtype: torch.dtype) -> Callable[[], Any]:
        """Return what loads the UNet in OpenVINO."""
        return lambda: load_openvino_unet(
            self.folder, self.variant, self.hash, len(self.schedule), dtype
        )

    def _embedding_path(self, prompt: str) -> Path:
        assert self.cache_dir is not None
        how = f"{self._text_place}-{self.variant}"
        return text.embedding_path(self.cache_dir, text_hash(self.folder), how, prompt)

    def _embedding_from_disk(self, prompt: str) -> bool:
        """Take a prompt's embedding from `cache_dir`; False where it is not there."""
        if self.cache_dir is None:
            return False
        embedding = text.read_embedding(self._embedding_path(prompt))
        if embedding is None:
            return False
        self._embeddings[prompt] = embedding
        return True
