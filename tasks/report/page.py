"""report.html: an asset on one page that works offline, from a folder or a mail attachment's.

The page loads nothing but files beside it (the preview and the video); the mesh, the styles and
the script are inside it. Everything that a user wrote is escaped.
"""

import base64
import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from stabledreamer_core.assets.mesh.glb import to_gltf_axes
from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from tasks.keys import EXPORTS
from tasks.report.debugger import debugger_data

ASSETS = Path(__file__).parent / "assets"
DOWNLOADS = ("gaussians.ply", "mesh.glb", "turntable.mp4", "preview.png", "run.json")
SCRIPTS = ("viewer.js", "debugger.js")
PLOT_WIDTH, PLOT_HEIGHT = 320, 90


def write_report(asset_dir: Path) -> Path:
    """Write `asset_dir`/report.html from run.json and the files beside it; returns its path.

    Raises:
        UserError: run.json is missing or damaged, or the page cannot be written.
    """
    try:
        record = json.loads((asset_dir / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{asset_dir / 'run.json'} cannot be read: {error}") from None
    page = Template((ASSETS / "report.html").read_text(encoding="utf-8")).substitute(
        prompt=escape(str(record["prompt"])),
        seed=int(record["seed"]),
        device=escape(str(record["device"])),
        metrics=_metrics(record["metrics"]),
        stages="".join(_stage(name, facts) for name, facts in record["stages"].items()),
        downloads=_downloads(asset_dir, record),
        config=escape(json.dumps(record["config"], indent=2)),
        packages=_rows({**record["packages"], "StableDreamer": _code(record["code"])}),
        mesh=_mesh_data(asset_dir / "mesh.glb"),
        debugger=debugger_data(asset_dir, record),
        script="".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
    )
    path = asset_dir / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _metrics(metrics: dict[str, Any]) -> str:
    known = {name: value for name, value in metrics.items() if value is not None}
    if not known:
        return "<p>There is no truth to measure this prompt against.</p>"
    return (
        f"<table>{_rows({name.replace('_', ' '): f'{v:.3g}' for name, v in known.items()})}</table>"
    )


def _stage(name: str, facts: dict[str, Any]) -> str:
    """A stage's cost and the curve of its loss."""
    shown = {
        "iterations": facts.get("iterations"),
        "minutes": round(float(facts.get("seconds") or 0.0) / 60, 1),
        "iterations a second": facts.get("iterations_per_second"),
        "Gaussians": facts.get("gaussians"),
        "peak memory": f"{float(facts.get('peak_memory_bytes') or 0) / 2**30:.2f} GiB",
    }
    title = escape(name.replace("stage", "Stage "))
    table = f"<table>{_rows(shown)}</table>"
    return f"<section><h3>{title}</h3>{table}{_curve(facts.get('losses') or [])}</section>"


def _curve(losses: list[float]) -> str:
    """The loss over the stage as an SVG line, on a logarithmic scale."""
    values = np.log10(np.maximum(np.asarray(losses, float), 1e-8))
    if len(values) < 2:
        return ""
    low, high = float(values.min()), float(values.max())
    x = np.linspace(0, PLOT_WIDTH, len(values))
    y = PLOT_HEIGHT * (1 - (values - low) / max(high - low, 1e-9))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    label = f"loss, {10**high:.2g} at the top to {10**low:.2g} at the bottom (logarithmic)"
    return (
        f'<figure><svg viewBox="-2 -4 {PLOT_WIDTH + 4} {PLOT_HEIGHT + 8}" role="img">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f"</svg><figcaption>{escape(label)}</figcaption></figure>"
    )


def _downloads(asset_dir: Path, record: dict[str, Any]) -> str:
    """Links to the files of this run; an export of an earlier one may lie beside them."""
    exports = [name for name in EXPORTS if name in record["files"]]
    links = [
        f'<li><a href="{name}" download>{name}</a> '
        f"{(asset_dir / name).stat().st_size / 1e6:.1f} MB</li>"
        for name in (*DOWNLOADS, *exports)
        if (asset_dir / name).exists()
    ]
    return f"<ul>{''.join(links)}</ul>"


def _rows(values: dict[str, Any]) -> str:
    return "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in values.items()
    )


def _code(code: Any) -> str:
    return " ".join(map(str, code.values())) if isinstance(code, dict) else str(code)


def _mesh_data(path: Path) -> str:
    """The mesh for viewer.js as JSON of base64 arrays: display colours, glTF's axes; or null."""
    surface = read_glb(path) if path.exists() else None
    if surface is None or surface.colors is None:
        return "null"
    arrays = {
        "positions": to_gltf_axes(surface.vertices).astype("<f4"),
        "normals": to_gltf_axes(surface.normals).astype("<f4"),
        "colors": (surface.colors * 255 + 0.5).astype(np.uint8),
        "indices": np.asarray(surface.faces, "<u4"),
    }
    return json.dumps({k: base64.b64encode(v.tobytes()).decode() for k, v in arrays.items()})
