"""One training step of three other programs, restated call by call from their sources.

Read at these commits; the comments give file and lines.

- threestudio-3dgs (DSaurus, 8c2ab7b) within threestudio (threestudio-project, 28d9d80)
- GaussianDreamer (hustvl, 76a38ff), a copy of threestudio with a system of its own
- DreamGaussian (dreamgaussian, 69a3c70)

Restated: cameras and what is copied for them, views rendered one after another, conversions between
number formats, the calls of the networks, losses, backward passes, statistics for density control,
the optimiser, and where the host waits for the device. Left out, in their favour: Lightning,
logging, and density control itself. gsplat takes the place of diff-gaussian-rasterization. All
render at the guidance's resolution: DreamGaussian would begin at 128 pixels, GaussianDreamer render
1024. Each `*_step` returns a function that does one step.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.peer_scene import (
    GUIDANCE,
    Guide,
    Scene,
    cameras,
    decode,
    directions,
    pixel_directions,
    radii_of,
    screen_gradient,
    sds_gradient,
    total_variation,
)
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.gaussians import Splats

Step = Callable[[int], None]


def threestudio_step(guide: Guide, splats: Splats, views: int, device: torch.device) -> Step:
    """threestudio-3dgs: configs/gaussian_splatting.yaml, in single precision."""
    scene, size = Scene(splats, device), guide.size
    black = torch.zeros(3, device=device)
    unit = pixel_directions(size)
    alphas = guide.alphas(device)

    def step(number: int) -> None:
        # data/uncond.py:143-344: cameras and every pixel's ray, on the host, then all is copied.
        azimuth, elevation, c2w, viewmats, Ks = cameras(views, size)
        fovy = torch.full((views,), math.radians(65))
        focal = 0.5 * size / torch.tan(0.5 * fovy)
        rays = unit[None].repeat(views, 1, 1, 1)
        rays[..., :2] = rays[..., :2] / focal[:, None, None, None]
        rays_d = (rays[:, :, :, None, :] * c2w[:, None, None, :3, :3]).sum(-1)
        rays_o = c2w[:, None, None, :3, 3].expand(rays_d.shape)
        azimuth, elevation, c2w, fovy, _, _ = (
            value.to(device) for value in (azimuth, elevation, c2w, fovy, rays_d, rays_o)
        )

        # gaussian_batch_renderer.py:19-60, diff_gaussian_rasterizer.py:59-145: view by view.
        scene.set_rate(number)
        images, infos = [], []
        for index in range(views):
            world_to_camera = torch.inverse(c2w[index])  # ops.py:398-413
            torch.inverse(world_to_camera)
            math.tan(fovy[index] * 0.5)  # of a number on the device: the host waits for it
            background = black if np.random.rand() > 0.5 else 1.0 - black
            image, info = scene.render(
                viewmats[index].to(device), Ks[index].to(device), background, size, "RGB"
            )
            images.append(image.permute(2, 0, 1).clamp(0, 1))
            infos.append(info)
        rgb = torch.stack(images, 0).permute(0, 2, 3, 1)

        # stable_diffusion_guidance.py:386-454.
        pictures = F.interpolate(
            rgb.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=False
        )
        latents = guide.encode(pictures).to(pictures.dtype)
        t = torch.randint(20, 981, [views], dtype=torch.long, device=device)
        prompts = guide.prompts[directions(elevation, azimuth)]
        both = torch.cat([prompts, guide.empty.expand(views, -1, -1)], dim=0)
        grad, predicted, noisy = sds_gradient(guide, latents, t, both)
        # :267-270: x0_hat is decoded at every step, and used only where use_img_loss is set.
        alpha, sigma = ((value**0.5).view(-1, 1, 1, 1) for value in (alphas[t], 1 - alphas[t]))
        decode(guide, (noisy - sigma * predicted) / alpha)
        grad = torch.nan_to_num(grad)
        target = (latents - grad).detach()
        loss_sds = 0.5 * F.mse_loss(latents, target, reduction="sum") / views
        grad.norm()

        # system/gaussian_splatting.py:81-142: losses, and two backward passes.
        params = scene.params
        loss = params["means"].norm(dim=-1).mean()
        scaling = params["scales"].exp().norm(dim=-1).detach().unsqueeze(-1)
        loss = loss + 1e-4 * (scaling * params["opacities"].sigmoid()[:, None]).sum()
        loss = loss + 1e-4 * params["scales"].exp().sum()
        loss = loss + total_variation(rgb.permute(0, 3, 1, 2))
        (0.1 * loss_sds).backward(retain_graph=True)
        for info in infos:  # gaussian_base.py:814-823
            scene.max_radii = torch.max(scene.max_radii, radii_of(info))
            scene.note(screen_gradient(info), radii_of(info))
        if loss > 0:
            loss.backward()
        scene.optimizer.step()
        scene.optimizer.zero_grad(set_to_none=True)

    return step


def gaussiandreamer_step(guide: Guide, splats: Splats, views: int, device: torch.device) -> Step:
    """GaussianDreamer: configs/gaussiandreamer-sd.yaml, in mixed precision."""
    scene, size = Scene(splats, device), guide.size
    scaler = torch.amp.GradScaler(device.type)
    background = torch.zeros(3, device=device)

    def step(number: int) -> None:
        # data/uncond.py:173-392: cameras on the host, then all is copied.
        azimuth, elevation, c2w, viewmats, Ks = cameras(views, size)
        fovy = torch.full((views,), math.radians(49))
        azimuth, elevation, c2w, fovy = (
            value.to(device) for value in (azimuth, elevation, c2w, fovy)
        )

        # systems/GaussianDreamer.py:228-272, gaussian_renderer/__init__.py:18-102.
        scene.set_rate(number)
        scene.set_rate(number)
        images, depths, infos = [], [], []
        largest: Tensor | None = None
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            for index in range(views):
                torch.inverse(c2w[index])
                math.tan(fovy[index] * 0.5)
                with torch.autocast(device.type, enabled=False):
                    image, info = scene.render(
                        viewmats[index].to(device), Ks[index].to(device), background, size, "RGB+D"
                    )
                radii = radii_of(info)
                largest = radii if largest is None else torch.max(radii, largest)
                images.append(image[..., :3])
                depths.append(image[..., 3:])
                infos.append(info)
            rgb, depth = torch.stack(images, 0), torch.stack(depths, 0)
            opacity = depth / (depth.max() + 1e-5)

            # models/guidance/stable_diffusion_guidance.py:374-440.
            with torch.autocast(device.type, enabled=False):
                pictures = F.interpolate(
                    rgb.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=False
                )
                latents = guide.encode(pictures).to(pictures.dtype)
                t = torch.randint(20, 981, [views], dtype=torch.long, device=device)
                prompts = guide.prompts[directions(elevation, azimuth)]
                both = torch.cat([prompts, guide.empty.expand(views, -1, -1)], dim=0)
                grad, _, _ = sds_gradient(guide, latents, t, both)
            grad = torch.nan_to_num(grad).clamp(-2.0, 2.0)
            target = (latents - grad).detach()
            loss = 0.5 * F.mse_loss(latents, target, reduction="sum") / views

            # systems/GaussianDreamer.py:305-332.
            loss = loss + (opacity**2 + 0.01).sqrt().mean()
            clamped = opacity.clamp(1e-3, 1 - 1e-3)
            entropy = clamped * torch.log(clamped) + (1 - clamped) * torch.log(1 - clamped)
            loss = loss - 0.0 * entropy.mean()
        scaler.scale(loss).backward()
        scaler.unscale_(scene.optimizer)
        with torch.no_grad():  # :336-347
            total = torch.zeros_like(screen_gradient(infos[0]))
            for info in infos:
                total = total + screen_gradient(info)
            assert largest is not None
            visible = largest > 0
            scene.max_radii[visible] = torch.max(scene.max_radii[visible], largest[visible])
            scene.note(total, largest)
        scaler.step(scene.optimizer)
        scaler.update()
        scene.optimizer.zero_grad()

    return step


def dreamgaussian_step(guide: Guide, splats: Splats, views: int, device: torch.device) -> Step:
    """DreamGaussian: configs/text.yaml with a batch of `views`, its guidance in half precision."""
    scene, size = Scene(splats, device), guide.size

    def step(number: int) -> None:
        # main.py:189-256: cameras by numpy, rendered one by one; gs_renderer.py:645-671, 717-822.
        scene.set_rate(number)
        images = []
        for _ in range(views):
            azimuth, elevation = (torch.rand(1) * width for width in (360.0, 30.0))
            view = orbit(azimuth, elevation, 2.5, 49.1, size)
            np.linalg.inv(view.viewmats[0].numpy())
            shade = [1, 1, 1] if np.random.rand() > 0.5 else [0, 0, 0]
            background = torch.tensor(shade, dtype=torch.float32, device=device)
            viewmat, K = view.viewmats[0].to(device), view.Ks[0].to(device)
            image, info = scene.render(viewmat, K, background, size, "RGB+D")
            images.append(image[..., :3].permute(2, 0, 1).clamp(0, 1).unsqueeze(0))
        pictures = torch.cat(images, dim=0)

        # guidance/sd_utils.py:125-191.
        pictures = pictures.to(guide.dtype)
        pictures = F.interpolate(pictures, (size, size), mode="bilinear", align_corners=False)
        latents = guide.encode(pictures)
        with torch.no_grad():
            now = np.round((1 - min(1, number / 500)) * guide.steps).clip(20, 980)
            t = torch.full((views,), now, dtype=torch.long, device=device)
            weight = (1 - guide.alphas(device)[t]).view(views, 1, 1, 1)
            noise = torch.randn_like(latents)
            noisy = guide.scheduler.add_noise(latents, noise, t)
            prompts = [guide.prompts[:1].expand(views, -1, -1), guide.empty.expand(views, -1, -1)]
            predicted = guide.unet(
                torch.cat([noisy] * 2), torch.cat([t] * 2), encoder_hidden_states=torch.cat(prompts)
            ).sample
            text, none = predicted.chunk(2)
            predicted = none + GUIDANCE * (text - none)
            grad = torch.nan_to_num(weight * (predicted - noise))
        target = (latents - grad).detach()
        loss = 0.5 * F.mse_loss(latents.float(), target, reduction="sum") / views

        # main.py:272-281.
        loss.backward()
        scene.optimizer.step()
        scene.optimizer.zero_grad()
        radii = radii_of(info)
        visible = radii > 0
        scene.max_radii[visible] = torch.max(scene.max_radii[visible], radii[visible])
        scene.note(screen_gradient(info), radii)
        if device.type == "cuda":  # main.py:289-291
            torch.cuda.synchronize(device)

    return step


PEERS: dict[str, Callable[[Guide, Splats, int, torch.device], Step]] = {
    "threestudio-3dgs": threestudio_step,
    "GaussianDreamer": gaussiandreamer_step,
    "DreamGaussian": dreamgaussian_step,
}
