"""Where text is embedded and how much runs at once, on cards of 8 to 80 GB."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import load_prior, memory_plan, text
from stabledreamer_core.priors.catalogue import KNOWN, find_known
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.memory_plan import (
    DENOISED,
    ENCODED,
    ENCODED_BY_BLOCKS,
    GB,
    RESERVE,
    MemoryPlan,
    folder_sizes,
    gpu_bytes,
    plan_memory,
)


def plan(name: str, gpu_gb: float, eight_bit: bool = False) -> MemoryPlan:
    known = find_known(name)
    return plan_memory(known.sizes(known.side), gpu_gb * GB, eight_bit, name)


def test_a_large_card_is_not_held_back() -> None:
    for known in KNOWN:
        assert plan(known.name, 80.0) == MemoryPlan("GPU", 0, False)


@pytest.mark.parametrize(
    ("name", "gpu_gb", "eight_bit", "where"),
    [
        ("if-xl", 16, False, "GPU"),
        ("if-xl", 12, False, "CPU"),
        ("if-xl", 12, True, "8 bit"),
        ("if-m", 8, False, "CPU"),
        ("if-m", 8, True, "CPU"),  # eight bits of T5 are 8 GB
        ("sd15", 8, False, "GPU"),
        ("klein", 12, False, "GPU"),
        ("sd35-medium", 16, False, "GPU"),
    ],
)
def test_the_text_encoder_goes_where_it_fits(name, gpu_gb, eight_bit, where) -> None:
    assert plan(name, gpu_gb, eight_bit).text == where


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_less_memory_never_means_more_at_once(known) -> None:
    found = {}
    for gpu_gb in (80, 40, 24, 16, 12, 8, 6, 4):
        with suppress(UserError):
            found[gpu_gb] = plan(known.name, gpu_gb)
    assert 80 in found and list(found) == [gb for gb in (80, 40, 24, 16, 12, 8, 6, 4)][: len(found)]
    slices = [one.vae_slices for one in found.values()]
    assert slices == sorted(slices)
    for sliced in (False, True):  # slices make room for samples
        at_once = [one.chunk or 1000 for one in found.values() if one.vae_slices == sliced]
        assert at_once == sorted(at_once, reverse=True)


def test_what_is_planned_fits_by_its_own_estimates() -> None:
    for known in KNOWN:
        for gpu_gb in (8, 12, 16, 24):
            try:
                found = plan(known.name, gpu_gb)
            except UserError:
                continue
            larger = max(1.0, (known.side / 512) ** 2)
            memory = FAMILIES[known.kind].vae_memory
            weights = (known.denoiser_gb + known.vae_gb) * GB
            samples = max(found.chunk, 1) * DENOISED * larger
            kept = 4 * ENCODED * memory * larger if known.vae_gb and not found.vae_slices else 0
            backward = ENCODED_BY_BLOCKS * memory * larger if found.vae_slices else 0
            assert weights + RESERVE + max(kept + samples, backward) <= gpu_gb * GB


@pytest.mark.parametrize(("name", "gpu_gb"), [("if-xl", 8), ("klein", 8), ("prxpixel", 16)])
def test_a_card_too_small_is_told_in_one_line(name: str, gpu_gb: int) -> None:
    with pytest.raises(UserError, match=f"has {gpu_gb} GB for us and {name} needs about") as caught:
        plan(name, gpu_gb)
    assert "--preset small" in str(caught.value) and "\n" not in str(caught.value)


def test_the_small_preset_fits_eight_gigabytes() -> None:
    assert plan("sd15", 7.5).chunk >= 4, "two views and their guidance at once"


def test_the_plan_is_said_in_a_few_words() -> None:
    words = MemoryPlan("CPU", 1, True).words()
    assert words == "text encoder on the CPU, one sample at a time, VAE image by image"
    assert MemoryPlan("8 bit", 6, False).words().endswith("GPU, at most 6 samples at once")


def test_sizes_are_those_of_the_networks(tiny_sd: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    def count(network) -> int:
        return sum(value.numel() for value in network.state_dict().values())

    sizes = folder_sizes(tiny_sd, None, torch.float32, 32)
    assert sizes.denoiser == 4 * count(UNet2DConditionModel.from_pretrained(tiny_sd / "unet"))
    assert sizes.vae == 4 * count(AutoencoderKL.from_pretrained(tiny_sd / "vae"))
    encoder = CLIPTextModel.from_pretrained(tiny_sd / "text_encoder")
    assert sizes.text == pytest.approx(4 * count(encoder), rel=0.05)
    assert folder_sizes(tiny_sd, None, torch.float32, 32, text=False).text == 0


def test_encoding_in_slices_is_the_same_with_the_same_gradient(tiny_sd: Path) -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    results = []
    for slices in (False, True):
        prior = load_prior(str(tiny_sd), dtype="float64")
        prior._vae_slices = slices
        leaf = images.double().requires_grad_()
        latents = prior.encode(leaf)
        (latents**2).sum().backward()
        results.append((latents.detach(), leaf.grad))
        with torch.no_grad():
            torch.testing.assert_close(prior.encode(images.double()), latents.detach())
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_a_prior_runs_by_its_plan_and_gives_the_same(tiny_sd: Path, monkeypatch) -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found = []
    for planned in (None, MemoryPlan("CPU", 1, True)):
        prior = load_prior(str(tiny_sd), chunk=0)
        if planned is not None:
            monkeypatch.setattr(memory_plan, "SMALL_BYTES", 0)
            monkeypatch.setattr(memory_plan, "gpu_bytes", lambda _: 1.0)
            monkeypatch.setattr(memory_plan, "plan_memory", lambda *_, plan=planned: plan)
            prior.fit_memory()
            assert prior.chunk == 1 and prior._vae_slices
        embeddings = prior.embed(["a bear"] * 4)
        x_t = prior.encode(images)
        at = torch.tensor([10, 200, 500, 900])
        found.append((embeddings, x_t, prior.predict_eps(x_t, at, embeddings)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_prior_that_cannot_fit_says_so_when_it_is_opened(tiny_sd: Path, monkeypatch) -> None:
    monkeypatch.setattr(memory_plan, "SMALL_BYTES", 0)
    monkeypatch.setattr(memory_plan, "gpu_bytes", lambda _: 0.5 * GB)
    with pytest.raises(UserError, match="has 0 GB for us and"):
        load_prior(str(tiny_sd)).fit_memory()


def test_text_on_the_cpu_takes_what_memory_allows(monkeypatch) -> None:
    import psutil

    def free(gb: float) -> None:
        memory = psutil.virtual_memory()._replace(available=int(gb * GB))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    free(40)
    assert text.cpu_place(9.5 * GB, torch.float16).dtype == torch.float32
    free(16)
    assert text.cpu_place(9.5 * GB, torch.float16).dtype == torch.bfloat16
    free(8)
    with pytest.raises(UserError, match="priors embed"):
        text.cpu_place(9.5 * GB, torch.float16)


@pytest.mark.gpu
def test_a_cap_on_the_card_counts(tiny_sd: Path, monkeypatch) -> None:
    device = torch.device("cuda")
    total = torch.cuda.mem_get_info(device)[1]
    try:
        torch.cuda.set_per_process_memory_fraction(5 * GB / total)
        assert gpu_bytes(device) == pytest.approx(5 * GB, rel=0.01)
        assert load_prior(str(tiny_sd), device=device).chunk == 0, "small networks fit any card"
        monkeypatch.setattr(memory_plan, "SMALL_BYTES", 0)
        limited = load_prior(str(tiny_sd), device=device)
        assert 0 < limited.chunk < 16
        torch.cuda.set_per_process_memory_fraction(1 * GB / total)
        with pytest.raises(UserError, match="GPU has 1 GB for us"):
            load_prior(str(tiny_sd), device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu
def test_a_vae_in_slices_takes_less_and_gives_the_same(tmp_path: Path) -> None:
    from tests.tiny_families import build_sd

    build_sd().save_pretrained(tmp_path / "sd")
    images, found = torch.rand(8, 3, 512, 512, device="cuda"), []
    for slices in (False, True):
        prior = load_prior(str(tmp_path / "sd"), device="cuda", acceleration="none")
        prior._vae_slices = slices
        leaf = images.clone().requires_grad_()
        prior.encode(leaf[:1]).sum().backward()  # the weights are there
        torch.cuda.reset_peak_memory_stats()
        latents = prior.encode(leaf)
        (latents**2).sum().backward()
        found.append((torch.cuda.max_memory_allocated(), latents.detach(), leaf.grad))
        del prior, latents, leaf
    for whole, sliced in zip(found[0][1:], found[1][1:], strict=True):
        # A convolution of eight images sums in another order than one of one.
        assert (whole - sliced).norm() <= 1e-3 * whole.norm()
    print(f"peak {found[0][0] / 1e6:.0f} MB whole, {found[1][0] / 1e6:.0f} MB in slices")
    assert found[1][0] < 0.5 * found[0][0]


@pytest.mark.gpu
def test_text_embedded_on_the_cpu_serves_a_gpu(tiny_if: Path) -> None:
    here = load_prior(str(tiny_if), device="cuda").embed(["a red bear"])
    prior = load_prior(str(tiny_if), device="cuda")
    prior._text_place = text.cpu_place(1e6, torch.float32)
    there = prior.embed(["a red bear"])
    assert there.is_cuda
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_an_encoder_in_eight_bits_is_close(tiny_if: Path) -> None:
    pytest.importorskip("bitsandbytes")
    device = torch.device("cuda")
    whole = load_prior(str(tiny_if), device=device, dtype="float16").embed(["a red bear"])
    prior = load_prior(str(tiny_if), device=device, dtype="float16")
    prior._text_place = text.Place(device, torch.float16, eight_bit=True)
    assert (
        torch.nn.functional.cosine_similarity(
            prior.embed(["a red bear"]).flatten(), whole.flatten(), dim=0
        )
        > 0.98
    )
