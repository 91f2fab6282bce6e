"""Every caption a toy can be shown with, and the tokens the text encoders read.

A toy's captions, in order: without view words, with each of the four coarse ones, with each of
the eight directions and overhead. The last row of a token table is the empty caption.
"""

from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from stabledreamer_core.distillation.view_prompts import OVERHEAD_DEG, VOCABULARIES, view_prompts
from toybox.captions import caption
from toybox.catalogue import all_toys
from toybox.training.settings import Captions

FIRST_COARSE = 1
FIRST_FINE = FIRST_COARSE + len(VOCABULARIES["four"])
VARIANTS = FIRST_FINE + len(VOCABULARIES["eight"])
MAX_TOKENS = 77


def variants(text: str) -> list[str]:
    """A caption with none, coarse and fine view words: `VARIANTS` texts."""
    return [text, *view_prompts(text, "four"), *view_prompts(text, "eight")]


def all_captions() -> list[str]:
    """Every caption of every toy, toy by toy, then the empty one."""
    texts = [text for toy in all_toys() for text in variants(caption(toy))]
    return [*texts, ""]


@dataclass(frozen=True)
class TokenTable:
    """Tokens of `all_captions()` as the pipelines make them: padded to a fixed length L."""

    ids: Tensor  # [captions, L] int64
    mask: Tensor  # [captions, L] int64, 0 on padding


def tokenize_all(
    tokenizer: PreTrainedTokenizerBase, device: torch.device, length: int = MAX_TOKENS
) -> TokenTable:
    """Tokenise every caption once; padded here, since the tokenizer takes seconds to pad them."""
    rows = tokenizer(all_captions(), truncation=True, max_length=length).input_ids
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(length) < lengths[:, None]
    ids = torch.full(mask.shape, tokenizer.pad_token_id)
    ids[mask] = torch.tensor(list(chain.from_iterable(rows)))
    return TokenTable(ids.to(device), mask.long().to(device))


def draw_rows(
    toy_index: Tensor,
    azimuth_deg: Tensor,
    elevation_deg: Tensor,
    shares: Captions,
    generator: torch.Generator,
) -> Tensor:
    """Rows of `all_captions()` for a batch of renders, without waiting for the device.

    Args:
        toy_index, azimuth_deg, elevation_deg: [n] what is shown and from where.
        shares: of empty, plain, coarse and wrong captions.
        generator: on the tensors' device.
    """
    coarse, fine = view_variants(azimuth_deg, elevation_deg)
    device, n = toy_index.device, len(toy_index)
    kind, empty = torch.rand(2, n, generator=generator, device=device)
    variant = torch.where(kind < shares.plain + shares.coarse, coarse, fine)
    variant = torch.where(kind < shares.plain, torch.zeros_like(variant), variant)
    if shares.wrong > 0.0:
        variant = with_wrong_views(variant, shares.wrong, generator)
    rows = toy_index.long() * VARIANTS + variant
    return torch.where(empty < shares.empty, len(all_toys()) * VARIANTS, rows)


def with_wrong_views(variant: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Let a share of those captions that have view words name another view.

    Every other word of the same vocabulary is as likely.

    Args:
        variant: [n] positions among a toy's captions.
    """
    coarse = variant < FIRST_FINE
    first = torch.where(coarse, FIRST_COARSE, FIRST_FINE)
    count = torch.where(coarse, len(VOCABULARIES["four"]), len(VOCABULARIES["eight"]))
    chosen, other = torch.rand(2, len(variant), generator=generator, device=variant.device)
    step = 1 + torch.minimum((other * (count - 1)).long(), count - 2)
    wrong = first + (variant - first + step) % count
    return torch.where((variant >= FIRST_COARSE) & (chosen < share), wrong, variant)


def view_variants(azimuth_deg: Tensor, elevation_deg: Tensor) -> tuple[Tensor, Tensor]:
    """Positions among a toy's captions of its coarse and fine view words (views.view_words)."""
    eighth = torch.floor((azimuth_deg + 22.5) / 45.0).long() % 8
    quarter = torch.round(azimuth_deg / 90.0).long() % 4
    four = torch.where(quarter == 3, 1, quarter)  # front, side, back, side
    overhead = elevation_deg >= OVERHEAD_DEG
    coarse = torch.where(overhead, len(VOCABULARIES["four"]) - 1, four)
    fine = torch.where(overhead, len(VOCABULARIES["eight"]) - 1, eighth)
    return FIRST_COARSE + coarse, FIRST_FINE + fine
