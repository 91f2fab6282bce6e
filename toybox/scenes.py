"""Scenes: a toy, a variation of its shape, a camera on the orbit, a background.

`Sampler` draws thousands at once as torch operations on its device; `render.render` draws them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.scene.cameras import Views, orbit
from toybox.catalogue import (
    ACCESSORY_COLOURS,
    CATEGORIES,
    COLOURS,
    Toy,
    accessories_of,
    all_toys,
    toy_index,
)
from toybox.geometry import Bank, geometry_bank, pairs, solid
from toybox.heldout import heldout_toys, training_toys
from toybox.render_paint import paint_table, toy_palette

FOV_DEG = 40.0
DISTANCE = (3.0, 3.4)
ELEVATION_DEG = (-10.0, 45.0)
HIGH_ELEVATION_DEG = (45.0, 85.0)
HIGH_SHARE = 0.15
GREY_SHARE = 0.5
PLAIN_SHARE = {True: 0.25, False: 0.4}  # toys without an accessory; by whether it wears any
WEARER_WEIGHT = 1.5


@dataclass(frozen=True)
class Batch:
    """n scenes on one device.

    Attributes:
        toy_index: [n] int64 into `all_toys()`.
        geometry: [n] int32 into the bank's shapes.
        palettes: [n, len(SLOTS), 3].
        azimuth_deg, elevation_deg, distance: [n].
        background: [n, 3] in [0, 1].
        rows, slots, counts: the bank (see `geometry.Bank`), shared by all scenes.
    """

    toy_index: Tensor
    geometry: Tensor
    palettes: Tensor
    azimuth_deg: Tensor
    elevation_deg: Tensor
    distance: Tensor
    background: Tensor
    rows: Tensor
    slots: Tensor
    counts: Tensor

    def views(self, resolution: int) -> Views:
        """The scenes' cameras."""
        return orbit(self.azimuth_deg, self.elevation_deg, self.distance, FOV_DEG, resolution)

    def __len__(self) -> int:
        return len(self.toy_index)


class Sampler:
    """Random scenes of a split's toys.

    Categories are drawn evenly (those that wear things 1.5 times as often), then the accessory
    (none: 25 %, of toys that wear nothing 40 %), then evenly among the split's toys that fit.

    Args:
        device: where scenes live.
        shape_seed: which set of shape variations; see `geometry.geometry_bank`.
        variations: how many variations a shape has.
        split: "train", "heldout" or "all".
    """

    def __init__(
        self,
        device: torch.device | str,
        shape_seed: int = 0,
        variations: int = 64,
        split: str = "train",
    ) -> None:
        self.device = torch.device(device)
        bank = geometry_bank(shape_seed, variations)
        self.variations = variations
        self.rows, self.slots, self.counts = _on_device(bank, self.device)
        self.paints = paint_table().to(self.device)
        self.toy_pair, self.toy_colour, self.toy_accent = (
            column.to(self.device) for column in _toy_table()
        )
        toys = {"train": training_toys, "heldout": heldout_toys, "all": all_toys}[split]()
        self.split_toys = torch.tensor([toy_index(toy) for toy in toys], device=self.device)
        weights = torch.tensor(_weights(toys), dtype=torch.float64).cumsum(0)
        self.cumulative = (weights / weights[-1]).float().to(self.device)

    def sample(self, count: int, generator: torch.Generator) -> Batch:
        """`count` scenes; the generator lives on the sampler's device."""
        u = torch.rand(11, count, generator=generator, device=self.device)
        position = torch.searchsorted(self.cumulative, u[0]).clamp(max=len(self.split_toys) - 1)
        toys = self.split_toys[position]
        variation = (u[1] * self.variations).long().clamp(max=self.variations - 1)
        low = _between(ELEVATION_DEG, u[3])
        high = _between(HIGH_ELEVATION_DEG, u[3])
        grey, coloured = u[6].expand(3, -1), u[7:10]
        background = torch.where(u[10] < GREY_SHARE, grey, coloured).T.contiguous()
        return self.scenes(
            toys,
            variation,
            360.0 * u[2],
            torch.where(u[4] < HIGH_SHARE, high, low),
            _between(DISTANCE, u[5]),
            background,
        )

    def scenes(
        self,
        toys: Tensor,
        variation: Tensor,
        azimuth_deg: Tensor,
        elevation_deg: Tensor,
        distance: Tensor,
        background: Tensor,
    ) -> Batch:
        """The scenes given by toy indices [n], variations [n], cameras [n] and colours [n, 3]."""
        geometry = (self.toy_pair[toys] * self.variations + variation).int()
        palettes = self.paints[self.toy_colour[toys], self.toy_accent[toys]]
        return Batch(
            toys,
            geometry,
            palettes,
            azimuth_deg,
            elevation_deg,
            distance,
            background,
            self.rows,
            self.slots,
            self.counts,
        )

    def scene_of(self, toy: Toy, variation: int, batch: Batch) -> Batch:
        """`batch` with another toy in all its scenes, in one of this sampler's variations."""
        toys = torch.full_like(batch.toy_index, toy_index(toy))
        return self.scenes(
            toys,
            torch.full_like(toys, variation),
            batch.azimuth_deg,
            batch.elevation_deg,
            batch.distance,
            batch.background,
        )


def toy_batch(
    toy: Toy,
    azimuth_deg: Tensor,
    elevation_deg: Tensor,
    distance: Tensor,
    background: Tensor,
    variation_seed: int | None = None,
) -> Batch:
    """One toy seen by n cameras, on the tensors' device; no sampler needed."""
    device, count = azimuth_deg.device, len(azimuth_deg)
    one = solid(toy.category, toy.accessory, variation_seed)
    index = toy_index(toy)
    palette = toy_palette(toy).to(device)
    return Batch(
        torch.full((count,), index, device=device),
        torch.zeros(count, dtype=torch.int32, device=device),
        palette.expand(count, -1, -1).contiguous(),
        azimuth_deg,
        elevation_deg,
        distance,
        background,
        torch.from_numpy(one.rows)[None].to(device),
        torch.from_numpy(one.slots)[None].to(device),
        torch.tensor([len(one.slots)], dtype=torch.int32, device=device),
    )


def _toy_table() -> tuple[Tensor, Tensor, Tensor]:
    """For each toy its pair, colour and accessory colour (one past the last: none) as indices."""
    pair_index = {pair: index for index, pair in enumerate(pairs())}
    colours, accents = list(COLOURS), list(ACCESSORY_COLOURS)
    toys = all_toys()
    accent_index = {name: index for index, name in enumerate([*accents, None])}
    return (
        torch.tensor([pair_index[toy.category, toy.accessory] for toy in toys]),
        torch.tensor([colours.index(toy.colour) for toy in toys]),
        torch.tensor([accent_index[toy.accessory_colour] for toy in toys]),
    )


def _weights(toys: tuple[Toy, ...]) -> list[float]:
    """How often each toy is drawn, not normalised."""
    group: dict[tuple[str, str | None], int] = {}
    for toy in toys:
        key = toy.category, toy.accessory
        group[key] = group.get(key, 0) + 1
    weights = []
    for toy in toys:
        wears = CATEGORIES[toy.category].wears
        kinds = len(accessories_of(toy.category)) - 1
        plain = PLAIN_SHARE[wears]
        share = plain if toy.accessory is None else (1.0 - plain) / kinds
        weight = WEARER_WEIGHT if wears else 1.0
        weights.append(weight * share / group[toy.category, toy.accessory])
    return weights


def _between(bounds: tuple[float, float], u: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * u


def _on_device(bank: Bank, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    arrays = (bank.rows, bank.slots, bank.counts)
    rows, slots, counts = (torch.from_numpy(array).to(device) for array in arrays)
    return rows, slots, counts
