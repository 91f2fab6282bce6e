"""CLIP score and CLIP R-Precision, when the user has CLIP weights: for any prompt, any prior.

CLIP (Radford et al. 2021) embeds images and texts in one space. transformers loads it, from a
folder or from the hub's local cache; nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError

TEXTS_AT_ONCE = 128
# Of the images it was trained on (its paper's code; every published CLIP has them).
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP model."""

    model: Any  # transformers.CLIPModel
    tokenizer: Any

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""
        return int(self.model.config.vision_config.image_size)


def load_clip(source: str, device: torch.device, base: Path | None = None) -> Clip:
    """Load a CLIP model from a folder, or from the hub's local cache by its id.

    Args:
        base: where a relative folder is looked for after the current one.

    Raises:
        UserError: it is not there, is no CLIP, or has no weights as safetensors.
    """
    from stabledreamer_core.priors.quiet import quiet

    with quiet():
        from transformers import AutoTokenizer, CLIPModel

        places = [Path(source), *([base / source] if base else [])]
        local = next((str(place) for place in places if place.is_dir()), source)
        load: Any = CLIPModel.from_pretrained  # its type does not know output_loading_info
        try:
            model, report = load(
                local, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(local, local_files_only=True)
        except Exception as error:  # missing and damaged files are met with many kinds
            raise UserError(_absent(source)) from error
    if report["missing_keys"]:
        raise UserError(_absent(source))
    return Clip(model.to(device).eval(), tokenizer)


@torch.no_grad()
def similarities(clip: Clip, images: Tensor, prompts: Sequence[str]) -> Tensor:
    """Compute cosines [V, P] in [-1, 1] between images and prompts.

    Args:
        images: [V, 3, R, R] in [0, 1] at `clip.resolution`.
        prompts: longer ones are cut where CLIP stops reading.
    """
    weight = clip.model.visual_projection.weight
    mean, std = (torch.tensor(values)[:, None, None].to(weight) for values in (MEAN, STD))
    pixels = (images.to(weight) - mean) / std
    seen = clip.model.get_image_features(pixel_values=pixels).pooler_output
    limit = clip.model.config.text_config.max_position_embeddings
    read = []
    for start in range(0, len(prompts), TEXTS_AT_ONCE):
        texts = list(prompts[start : start + TEXTS_AT_ONCE])
        tokens = clip.tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        ).to(weight.device)
        found = clip.model.get_text_features(tokens.input_ids, tokens.attention_mask)
        read.append(found.pooler_output)
    unit = torch.nn.functional.normalize
    return (unit(seen.float(), dim=1) @ unit(torch.cat(read).float(), dim=1).T).double()


def clip_metrics(
    clip: Clip, images: Tensor, prompt: str, others: Sequence[str]
) -> dict[str, float | None]:
    """Compute `clip_score`, the mean cosine of views and prompt, and `clip_r_precision`.

    The score is the plain cosine (some papers print it times 100, some times 2.5); right pairs of
    photographs and captions have about 0.3, unrelated ones about 0.15. R-Precision is the share of
    views that lie nearer to their own prompt than to any other of the list (retrieval.py cites);
    None where the list has no other prompt.

    How they mislead: CLIP hardly counts and hardly tells left from right, so a second face costs
    nothing, or raises the score; saturated, over-guided pictures score well; a back view is no
    worse a bear, but CLIP likes fronts; scores of two CLIP models do not compare; a model of small
    procedural toys is far from the photographs that CLIP knows.

    Args:
        images: as in `similarities`.
        others: prompts that ask for something else (`retrieval.rivals`).
    """
    cosines = similarities(clip, images, [prompt, *others])
    first = cosines[:, 0] > cosines[:, 1:].max(1).values if others else None
    return {
        "clip_score": cosines[:, 0].mean().item(),
        "clip_r_precision": None if first is None else first.double().mean().item(),
    }


def _absent(source: str) -> str:
    return (
        f"evaluate.clip: {source!r} is no folder, and no model in the hub's local cache, that holds"
        " a CLIP model with its tokenizer and safetensors weights; download one, such as"
        " openai/clip-vit-large-patch14, or set it to null"
    )
