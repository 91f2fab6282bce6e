"""The paper on one page: score distillation as a supervised loss turns a sentence into Gaussians.

    python examples/minimal.py "a red bear wearing a top hat"

Renders are noised and denoised in one step by a diffusion model; the denoised images are the target
of an ordinary L2 loss, whose gradient is that of score distillation (StableDreamer, section 4.1).
Needs the bundled pixel prior and about a minute on two cores; writes minimal.png and minimal.ply.
"""

import sys
from pathlib import Path

import torch
from tqdm import trange

import stabledreamer_core as sd

PROMPT = sys.argv[1] if len(sys.argv) > 1 else "a red bear wearing a top hat"
TARGETS, REUSE, VIEWS = 150, 3, 2  # targets asked of the prior, steps towards each, cameras
GUIDANCE_SCALE, RESOLUTION = 5.0, 64
RATES = {"means": 5e-3, "scales": 8e-3, "quats": 3e-3, "opacities": 4e-2, "colors": 3e-2}

random = torch.Generator().manual_seed(0)
prior = sd.load_prior("priors/toybox-if")  # any IFPipeline folder or hub id
schedule = prior.schedule  # of x_t = alpha_t x + sigma_t eps
words = prior.embed(sd.view_prompts(PROMPT, "eight"))  # [9, L, D], one for each direction
uncond = prior.embed([""])  # [1, L, D]

# The scene: a grey ball of 4,096 Gaussians, and one rate for each of their parameters.
ball = sd.init_ball(4096, radius=0.7, scale=0.06, opacity=0.1, generator=random)
gaussians = {name: torch.nn.Parameter(value) for name, value in ball.items()}
adam = torch.optim.Adam(
    [{"params": [gaussians[name]], "lr": rate} for name, rate in RATES.items()],
    betas=(0.9, 0.99),
    eps=1e-15,
)


def render(views: sd.Views, background: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [C, 3, H, W] in [0, 1] and opacities [C, H, W, 1] of the scene."""
    scene = sd.activate(gaussians)
    colors, alphas, _ = sd.rasterization(
        *(scene[name] for name in ("means", "quats", "scales", "opacities", "colors")),
        viewmats=views.viewmats,
        Ks=views.Ks,
        width=views.resolution,
        height=views.resolution,
        backgrounds=background,
    )
    return colors.permute(0, 3, 1, 2), alphas


for target in (bar := trange(TARGETS)):
    # 1. Cameras on an orbit, and noise levels from a band that falls (annealing, section 4.2).
    azimuth, elevation, distance = sd.sample_orbit(VIEWS, (-10.0, 60.0), (3.0, 3.4), random)
    views = sd.orbit(azimuth, elevation, distance, fov_deg=40.0, resolution=RESOLUTION)
    low, high = sd.timestep_range("linear", target / TARGETS, t_min=(0.7, 0.02), t_max=(0.98, 0.25))
    t = schedule.indices[sd.sample_timesteps(low, high, VIEWS, len(schedule.indices), random)]
    alpha, sigma = schedule.at(t)
    background = torch.rand(VIEWS, 3, generator=random)
    places = zip(azimuth.tolist(), elevation.tolist(), strict=True)
    cond = words[[sd.view_index(*place, "eight") for place in places]]

    # 2. Noise the render, and denoise it in one step under the prompt: x0_hat is the target.
    with torch.no_grad():
        x = prior.encode(render(views, background)[0])
        x_t = sd.add_noise(x, torch.randn(x.shape, generator=random), alpha, sigma)
        eps_hat = sd.guided_eps(
            prior.predict_eps, x_t, t, cond, uncond.expand_as(cond), GUIDANCE_SCALE
        )
        x0_hat = sd.limit_x0(sd.one_step_denoised(x_t, eps_hat, alpha, sigma), "clamp")
        weight = sd.l2_weight("x0", schedule, t)

    # 3. A supervised loss towards it: 1/2 w || x - stopgrad(x0_hat) ||^2, for a few steps.
    for _ in range(REUSE):
        picture, alphas = render(views, background)
        x = prior.encode(picture)
        loss = sd.l2_loss(x, x0_hat, weight).sum() / x.numel()
        loss = loss + 0.02 * (4.0 * alphas * (1.0 - alphas)).mean()  # binary opacity
        adam.zero_grad()
        loss.backward()
        adam.step()
    bar.set_postfix(loss=f"{loss.item():.4f}")

splats = {name: value.detach() for name, value in gaussians.items()}
sd.save_ply(splats, Path("minimal.ply"))
sd.write_preview(splats, sd.Config().turntable, Path("minimal.png"), torch.device("cpu"))
