"""How sharp the mesh is: against the true toy's surface, and against renders of the Gaussians.

    python -m benchmarks.claims.mesh_table outputs/plys
    python -m benchmarks.claims.mesh_table outputs/plys --set mesh.texture=false

The folder holds Gaussians, each named after its prompt and seed (red-bear-s0.ply). For each it
makes mesh.glb, asset-light.glb and the mesh as the shipped settings make them, or as `--set` says,
and prints a table: chamfer, normal consistency and F-score as in every run's metrics; PSNR between
pictures of the mesh and of the Gaussians from views that the mesh was not made from, at 256 and
512 pixels, all of the picture and its inner part; how far the paint is from the toy's true colours
with the light in it and without; seconds and sizes.

How PSNR misleads: a mesh has an edge where soft Gaussians fade out, so outlines decide it. The
inner part leaves out what is within FUZZ pixels of an outline, also of one in front of the toy.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import open3d as o3d
import torch
from scipy import ndimage

from benchmarks.search.results import recipe_config
from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.mesh.glb import Surface
from stabledreamer_core.assets.mesh.light import Light
from stabledreamer_core.assets.mesh.read import read_textured
from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.metrics.alignment import ALL_TURNS_DEG, SMALL_TURNS_DEG
from stabledreamer_core.metrics.surfaces import load_surface, surface_metrics
from stabledreamer_core.scene.cameras import Views, orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks
from stabledreamer_core.settings.config import Config
from tasks.keys import light_of
from toybox.captions import parse
from toybox.catalogue import CATEGORIES, Toy
from toybox.geometry import solid
from toybox.mesh import signed_distance, true_mesh
from toybox.render_paint import toy_palette

BACKGROUND = (0.93, 0.93, 0.92)
SAMPLES = 2  # a side of a pixel
FUZZ = 10  # pixels at 512
STEP = 0.05  # world units of depth from one pixel to the next: an outline
CPU = torch.device("cpu")
SURFACE = ("chamfer", "normal_consistency", "f_score")
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", nargs="*", default=[], help="settings, such as mesh.faces=20000")
    parser.add_argument("--seeds", nargs="*", type=int, help="default: all")
    arguments = parser.parse_args()
    config, rows = recipe_config(arguments.set), []
    for path in sorted(arguments.folder.glob("*-s*.ply")):
        name, seed = path.stem.rsplit("-s", 1)
        if arguments.seeds and int(seed) not in arguments.seeds:
            continue
        rows.append(measure(load_ply(path), "a " + name.replace("-", " "), config))
        if len(rows) == 1:
            print("| asset | " + " | ".join(rows[0]) + " |\n|---" + "|---" * len(rows[0]) + "|")
        print(line(path.stem, rows[-1]), flush=True)
    if rows:
        means = {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
        print(line(f"mean of {len(rows)}", means))


def line(name: str, figures: Figures) -> str:
    return f"| {name} | " + " | ".join(f"{value:.4g}" for value in figures.values()) + " |"


def measure(splats: Splats, prompt: str, config: Config) -> Figures:
    """All figures of one asset; prompts must name a toy of Toybox."""
    toy = parse(prompt).toy
    assert toy is not None, prompt
    light = light_of(config)
    with tempfile.TemporaryDirectory() as folder:
        full, lite = Path(folder) / "mesh.glb", Path(folder) / "asset-light.glb"
        start = time.perf_counter()
        write_mesh(splats, config.mesh, full, CPU, "toy", light, lite)
        seconds = time.perf_counter() - start
        sizes = {"MB": full.stat().st_size / 1e6, "light MB": lite.stat().st_size / 1e6}
        surface, mesh = read_textured(full), load_surface(full)
    assert surface is not None and mesh is not None
    turns = SMALL_TURNS_DEG if CATEGORIES[toy.category].has_front else ALL_TURNS_DEG
    shape = surface_metrics(mesh, true_mesh(toy), 20000, 0.02, turns)
    figures = {key: float(shape[key] or 0.0) for key in SURFACE}
    lamp = light if surface.lit else None
    for size in (256, 512):
        whole, inner = likeness(surface, splats, size, lamp)
        figures |= {f"PSNR {size}": whole, f"inner {size}": inner}
    return figures | {"paint error": paint_error(surface, toy), "s": seconds} | sizes


def likeness(
    surface: Surface, splats: Splats, size: int, light: Light | None
) -> tuple[float, float]:
    """PSNR of all pixels, and of those away from outlines, of 8 views all around."""
    azimuths = 45.0 * torch.arange(8) + 11.25
    views = orbit(azimuths, torch.tensor([15.0, -10.0, 40.0, 70.0] * 2), 3.2, 40.0, size)
    shots = [colors for colors, _ in render_chunks(splats, views, BACKGROUND, CPU)]
    theirs = torch.cat(shots).numpy()
    ours, inner = pictures(surface, views, light)
    error = np.square(ours - theirs)
    return tuple(-10.0 * float(np.log10(part.mean())) for part in (error, error[inner]))  # type: ignore[return-value]


def pictures(surface: Surface, views: Views, light: Light | None) -> tuple[np.ndarray, np.ndarray]:
    """The surface's pictures [C, R, R, 3], under the light if one is given, and inner pixels."""
    scene, size = scene_of(surface), views.resolution
    shots, inner = [], []
    for K, viewmat in zip(views.Ks.double(), views.viewmats.double(), strict=True):
        fine = K * torch.tensor([[SAMPLES], [SAMPLES], [1.0]])
        side = size * SAMPLES
        rays = scene.create_rays_pinhole(fine.numpy(), viewmat.numpy(), side, side)
        hits = scene.cast_rays(rays)
        face = hits["primitive_ids"].numpy()
        hit = face != scene.INVALID_ID
        image = np.tile(np.float32(BACKGROUND), (side, side, 1))
        image[hit] = colors_on(surface, face[hit], hits["primitive_uvs"].numpy()[hit], light)
        shots.append(image.reshape(size, SAMPLES, size, SAMPLES, 3).mean((1, 3)))
        depth = np.where(hit, hits["t_hit"].numpy(), 99.0)[::SAMPLES, ::SAMPLES]
        jump = ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > STEP
        wide = max(1, round(FUZZ * size / 512))
        inner.append((depth < 99.0) & ~ndimage.binary_dilation(jump, iterations=wide))
    return np.stack(shots), np.stack(inner)


def colors_on(
    surface: Surface, face: np.ndarray, second_third: np.ndarray, light: Light | None
) -> np.ndarray:
    """Display values [N, 3] of places on triangles, by bilinear look-up of the texture."""
    weights = np.concatenate([1.0 - second_third.sum(1, keepdims=True), second_third], 1)
    corners = surface.faces[face]

    def mixed(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nk,nkd->nd", weights, values[corners]))

    if surface.texture is not None and surface.uvs is not None:
        side = len(surface.texture)
        place = (mixed(surface.uvs) * side - 0.5).clip(0.0, side - 1.0).T[::-1]
        channels = (surface.texture[..., k] / 255.0 for k in range(3))
        looked = [ndimage.map_coordinates(c, place, order=1, mode="nearest") for c in channels]
        shown = np.stack(looked, 1)
    else:
        shown = mixed(np.asarray(surface.colors))
    if light is None:
        return shown
    normals = mixed(surface.normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    return shown * light.shade(normals)


def paint_error(surface: Surface, toy: Toy) -> float:
    """Median difference between the surface's colours and the toy's paint at the nearest part."""
    triangles = np.arange(len(surface.faces))
    middle = np.full((len(triangles), 2), 1.0 / 3.0)
    shown = colors_on(surface, triangles, middle, None)
    one = solid(toy.category, toy.accessory)
    places = surface.vertices[surface.faces].mean(1).astype(np.float32)
    paint = toy_palette(toy).numpy()[one.slots[signed_distance(one, places)[1]]]
    return float(np.median(np.abs(shown - paint).mean(1)))


def scene_of(surface: Surface) -> o3d.t.geometry.RaycastingScene:
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.asarray(surface.vertices, np.float32)),
        o3d.core.Tensor(np.asarray(surface.faces, np.uint32)),
    )
    return scene


if __name__ == "__main__":
    main()
