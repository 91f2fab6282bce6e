"""What the metrics say of true toys and of toys broken on purpose, before they are believed.

    python -m benchmarks.claims.validate_metrics            # about two minutes on one core
    python -m benchmarks.claims.validate_metrics --quick    # without the view classifier: 50 s
    python -m benchmarks.claims.validate_metrics --view-prior priors/toybox-sd

Prints the tables of docs/metrics.md: each cell is the mean over the toys, with the least and the
greatest in brackets where they differ.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
import trimesh
from skimage.measure import marching_cubes

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.metrics.alignment import SMALL_TURNS_DEG
from stabledreamer_core.metrics.surfaces import surface_metrics
from stabledreamer_core.settings.output import Evaluate
from toybox.captions import caption
from toybox.catalogue import COLOURS, Toy
from toybox.geometry import solid
from toybox.janus.broken import blurred, faced, posed, retouched
from toybox.mesh import signed_distance, true_mesh
from toybox.metrics.evaluate import evaluate_views
from toybox.metrics.pictures import Camera, Cutout, true_camera

TOYS = (
    Toy("bear", "red", "top hat", "black"),
    Toy("penguin", "pink", "scarf", "brown"),
    Toy("mug", "cyan"),
    Toy("chair", "white"),
)
CLASSIFIED = (TOYS[0], TOYS[2])  # it costs prior calls
CLASSIFIED_BREAKS = ("another variation", "two-faced")
PICTURE_NAMES = (
    *("category", "colour", "accessory", "view", "multi_face", "frontal", "r_precision"),
    *("colour_error", "detail"),
)
SURFACE_NAMES = ("chamfer", "f_score", "normal_consistency", "volume_ratio")
PRIOR_NAMES = (
    *("prior_view", "prior_fronts", "prior_front_arcs", "prior_multi_face", "prior_agreement"),
    "multi_face",
)
CPU = torch.device("cpu")
Row = dict[str, float | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the view classifier")
    parser.add_argument("--view-prior", help="which prior classifies; that table alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = load_config().evaluate

    if not arguments.view_prior:
        print(f"Pictures of {len(TOYS)} toys, eight views each:\n")
        print_table(picture_rows(settings, tuple(PICTURE_BREAKS), TOYS), PICTURE_NAMES)
        print(f"\nMeshes of {len(TOYS)} toys:\n")
        print_table(surface_rows(settings), SURFACE_NAMES)
    if not arguments.quick:
        asks = settings.view_prior
        if arguments.view_prior:
            asks = asks.model_copy(update={"prior": arguments.view_prior})
        asking = settings.model_copy(update={"view_classifier": True, "view_prior": asks})
        print(f"\nThe view classifier, {len(CLASSIFIED)} toys ({asks.prior}):\n")
        print_table(picture_rows(asking, CLASSIFIED_BREAKS, CLASSIFIED), PRIOR_NAMES)


# Pictures: each break makes a camera that sees the broken toy.


def picture_rows(
    settings: Evaluate, breaks: tuple[str, ...], toys: tuple[Toy, ...]
) -> Iterator[tuple[str, list[Row]]]:
    for name in breaks:
        cameras = [PICTURE_BREAKS[name](toy, settings.elevation_deg) for toy in toys]
        yield (
            name,
            [
                evaluate_views(camera, caption(toy), settings, CPU)
                for toy, camera in zip(toys, cameras, strict=True)
            ],
        )


def wide_faced(azimuth_deg: torch.Tensor) -> torch.Tensor:
    """Two thirds of the way round it shows the front."""
    within = (azimuth_deg + 180) % 360 - 180
    return torch.where(within.abs() <= 120, 0.0, azimuth_deg)


def mirrored(toy: Toy, elevation: float) -> Camera:
    flipped = retouched(true_camera(toy, elevation), lambda image: image.flip(-1))
    return posed(flipped, lambda azimuth_deg: -azimuth_deg)


def noisy(toy: Toy, elevation: float) -> Camera:
    def take(azimuth_deg: torch.Tensor, size: int) -> Cutout:
        pictures = true_camera(toy, elevation)(azimuth_deg, size)
        noise = torch.randn(pictures.colour.shape, generator=torch.Generator().manual_seed(0))
        return Cutout((pictures.colour + 0.05 * noise * pictures.alpha).clamp(0, 1), pictures.alpha)

    return take


def other_colour(toy: Toy) -> Toy:
    """The same in the catalogue's next colour that its accessory leaves free."""
    names = list(COLOURS)
    later = names[names.index(toy.colour) + 1 :] + names
    colour = next(name for name in later if name not in (toy.colour, toy.accessory_colour))
    return dataclasses.replace(toy, colour=colour)


def wrong_object(toy: Toy) -> Toy:
    return Toy("teapot", toy.colour)


PICTURE_BREAKS: dict[str, Callable[[Toy, float], Camera]] = {
    "the true toy": true_camera,
    "another variation": lambda toy, elevation: true_camera(toy, elevation, 1),
    "mirrored": mirrored,
    "two-faced": lambda toy, elevation: posed(true_camera(toy, elevation), faced(2)),
    "a front two thirds round": lambda toy, elevation: posed(
        true_camera(toy, elevation), wide_faced
    ),
    "turned by 90 degrees": lambda toy, elevation: posed(
        true_camera(toy, elevation), lambda azimuth_deg: azimuth_deg + 90
    ),
    "another colour": lambda toy, elevation: true_camera(other_colour(toy), elevation),
    "blurred (2 of 128 pixels)": lambda toy, elevation: blurred(true_camera(toy, elevation)),
    "noisy (0.05)": noisy,
    "a teapot of that colour": lambda toy, elevation: true_camera(wrong_object(toy), elevation),
}


# Meshes.


def surface_rows(settings: Evaluate) -> Iterator[tuple[str, list[Row]]]:
    truths = {toy: true_mesh(toy) for toy in TOYS}
    for name, change in MESH_BREAKS.items():
        rows = []
        for toy, truth in truths.items():
            mesh = change(toy, truth)
            found = surface_metrics(
                *(mesh, truth, settings.surface_samples, settings.f_score_threshold),
                SMALL_TURNS_DEG,
            )
            rows.append(found)
        yield name, rows


def mirrored_mesh(toy: Toy, truth: trimesh.Trimesh) -> trimesh.Trimesh:
    mesh = truth.copy()
    mesh.vertices[:, 1] *= -1
    mesh.invert()
    return mesh


def two_faced_mesh(toy: Toy, truth: trimesh.Trimesh) -> trimesh.Trimesh:
    """The half with the front, and that half again, turned to the back."""
    axis = np.linspace(-1, 1, 97, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    folded = np.where(grid[..., :1] < 0, grid * np.float32([-1, -1, 1]), grid)
    one = solid(toy.category, toy.accessory, None)
    field = signed_distance(one, folded.reshape(-1, 3))[0].reshape(grid.shape[:3])
    vertices, faces, _, _ = marching_cubes(field, 0.0)
    return trimesh.Trimesh(vertices * (axis[1] - axis[0]) - 1, faces)


def turned_mesh(toy: Toy, truth: trimesh.Trimesh) -> trimesh.Trimesh:
    return truth.copy().apply_transform(
        trimesh.transformations.rotation_matrix(np.pi / 2, [0, 0, 1])
    )


def smoothed(toy: Toy, truth: trimesh.Trimesh) -> trimesh.Trimesh:
    return trimesh.smoothing.filter_laplacian(truth.copy(), iterations=20)


def offset(distance: float, spread: float) -> Callable[[Toy, trimesh.Trimesh], trimesh.Trimesh]:
    """Vertices moved along their normals by a distance, and by noise."""

    def change(toy: Toy, truth: trimesh.Trimesh) -> trimesh.Trimesh:
        random = np.random.default_rng(0).normal(distance, spread, (len(truth.vertices), 1))
        moved = truth.vertices + random * truth.vertex_normals
        return trimesh.Trimesh(moved, truth.faces, process=False)

    return change


MESH_BREAKS: dict[str, Callable[[Toy, trimesh.Trimesh], trimesh.Trimesh]] = {
    "the true toy": lambda toy, truth: truth,
    "another variation": lambda toy, truth: true_mesh(toy, 1),
    "mirrored": mirrored_mesh,
    "two-faced": two_faced_mesh,
    "turned by 90 degrees": turned_mesh,
    "smoothed": smoothed,
    "rough (0.015)": offset(0.0, 0.015),
    "too thin (by 0.04)": offset(-0.04, 0.0),
    "a teapot": lambda toy, truth: true_mesh(wrong_object(toy)),
}


def print_table(rows: Iterator[tuple[str, list[Row]]], names: tuple[str, ...]) -> None:
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, toys in rows:
        print(f"| {name} | " + " | ".join(cell([row[n] for row in toys]) for n in names) + " |")


def cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    least, mean, greatest = (f"{round(f(known), 4):.3g}" for f in (min, np.mean, max))
    return mean if least == greatest else f"{mean} ({least} to {greatest})"


if __name__ == "__main__":
    main()
