"""Comparing render and target as images: what differs from the prior's own space, and what not."""

from pathlib import Path

import pytest
import torch

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.settings.stage import Stage


@pytest.fixture(scope="module")
def latent(tiny_sd: Path) -> Prior:
    return load_prior(str(tiny_sd))


def stage_in(space: str) -> Stage:
    return load_config().stage2.model_copy(update={"target_space": space})


def pictures(prior: Prior, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, prior.resolution, prior.resolution, generator=random)


def test_a_pixel_priors_own_space_is_that_of_images(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if))
    images, x0_hat = pictures(prior, 0), 2 * pictures(prior, 1) - 1
    own, image = stage_in("prior"), stage_in("image")
    x = to_loss_space(own, prior, images)
    assert torch.equal(x, to_loss_space(image, prior, images))
    z, _ = to_prior_space(own, prior, images, x)
    for stage in (own, image, stage_in("decoded"), stage_in("pulled_back")):
        found, pull = to_prior_space(stage, prior, images, x)
        assert torch.equal(z, found)
        assert torch.equal(target_in_loss_space(stage, prior, images, z, x0_hat, pull), x0_hat)


@pytest.mark.parametrize("space", ["decoded", "image", "pulled_back"])
def test_the_prior_is_asked_about_latents_either_way(latent: Prior, space: str) -> None:
    images = pictures(latent, 2)
    z, _ = to_prior_space(stage_in(space), latent, images, images)
    assert z.shape[1:] == latent.sample_shape and not z.requires_grad
    assert torch.equal(z, latent.encode(images).detach())


def test_a_prior_that_agrees_pulls_nowhere(latent: Prior) -> None:
    images = pictures(latent, 3)
    z = latent.encode(images).detach()
    stage = stage_in("image")
    target = target_in_loss_space(stage, latent, images, z, z)
    # An autoencoder that is not perfect is no reason to move.
    assert (latent.decode(z) - images).abs().max() > 0.01
    torch.testing.assert_close(target, to_loss_space(stage, latent, images), atol=1e-6, rtol=0)


def test_the_gradient_is_the_decoded_difference_and_passes_no_network(latent: Prior) -> None:
    images = pictures(latent, 4).requires_grad_()
    z = latent.encode(images).detach()
    x0_hat = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(5))
    stage = stage_in("image")
    target, weight = (
        target_in_loss_space(stage, latent, images, z, x0_hat),
        torch.tensor([0.5, 2.0]),
    )
    loss = l2_loss(to_loss_space(stage, latent, images), target, weight).sum()
    (gradient,) = torch.autograd.grad(loss, images)
    decoded = latent.decode(z) - latent.decode(x0_hat)
    expected = 4.0 * weight[:, None, None, None] * decoded  # x = 2 images - 1, twice
    assert (gradient - expected).norm() < 1e-5 * expected.norm()


def test_pulled_back_the_loss_has_the_gradient_of_the_latent_one(latent: Prior) -> None:
    images = pictures(latent, 6).requires_grad_()
    z = latent.encode(images).detach()
    x0_hat = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(7))
    weight, found = torch.tensor([0.5, 2.0]), []
    for space in ("prior", "pulled_back"):
        stage = stage_in(space)
        x = to_loss_space(stage, latent, images)
        asked, pull = to_prior_space(stage, latent, images, x)
        target = target_in_loss_space(stage, latent, images, asked, x0_hat, pull)
        loss = l2_loss(x, target, weight).sum() / x.numel()
        found += torch.autograd.grad(loss, images)
        assert target.shape == x.shape and not target.requires_grad
    assert (found[0] - found[1]).norm() < 1e-4 * found[0].norm()


def test_a_pulled_back_target_that_is_kept_asks_no_network(latent: Prior, monkeypatch) -> None:
    images, stage = pictures(latent, 8), stage_in("pulled_back")
    z, pull = to_prior_space(stage, latent, images, images)
    target = target_in_loss_space(stage, latent, images, z, torch.zeros_like(z), pull)
    monkeypatch.setattr(latent, "encode", None)
    later = (0.9 * images).requires_grad_()
    l2_loss(to_loss_space(stage, latent, later), target, torch.ones(2)).sum().backward()
    torch.testing.assert_close(later.grad, 2.0 * (2.0 * later.detach() - 1.0 - target))


def test_decoded_the_target_is_what_the_decoder_draws(latent: Prior) -> None:
    images, stage = pictures(latent, 9), stage_in("decoded")
    z, pull = to_prior_space(stage, latent, images, images)
    x0_hat = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(10))
    target = target_in_loss_space(stage, latent, images, z, x0_hat, pull)
    drawn = latent._network("vae").decode(x0_hat / latent._scaling_factor).sample
    torch.testing.assert_close(target, drawn.clamp(-1.0, 1.0), atol=1e-5, rtol=0)
    other = target_in_loss_space(stage, latent, 0.5 * images, z, x0_hat, pull)
    assert torch.equal(target, other)  # whatever the render
