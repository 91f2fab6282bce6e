"""What the training renders show, and from where."""

import torch

from toybox.scenes import Sampler
from toybox.training.renders import from_the_front
from toybox.training.settings import Training
from toybox.training.state import fingerprint

COUNT = 20_000


def frontal_share(share: float) -> float:
    """Of the azimuths, those within one standard deviation (20 degrees) of the front."""
    generator = torch.Generator().manual_seed(0)
    batch = Sampler("cpu", variations=1).sample(COUNT, generator)
    seen = from_the_front(batch, share, generator).azimuth_deg
    assert float(seen.min()) >= 0.0
    assert float(seen.max()) < 360.0
    return float(((seen < 20.0) | (seen > 340.0)).double().mean())


def test_a_share_of_the_renders_is_taken_from_the_front() -> None:
    anywhere, normal = 40.0 / 360.0, 0.6827  # of a uniform and of a normal distribution
    for share in (0.0, 0.5, 1.0):
        expected = share * normal + (1.0 - share) * anywhere
        assert abs(frontal_share(share) - expected) < 0.015


def test_other_pictures_are_another_training(tiny: Training) -> None:
    frontal = tiny.model_copy(update={"front_share": 0.5})
    jelly = tiny.model_copy(update={"jelly_density": 3.0})
    assert len({fingerprint(one, tiny.pixel) for one in (tiny, frontal, jelly)}) == 3
