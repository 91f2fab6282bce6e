"""report.html: an asset on one page that goes by mail and needs nothing but itself.

Pictures, video, files, styles and scripts are inside it, and its policy lets it load nothing. What
a user wrote is escaped by the template.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.settings.output import Turntable
from tasks.asset_folder import slug
from tasks.keys import EXPORTS, LITE, MESH, STAGE1, STAGE2
from tasks.report import pictures
from tasks.report.again import command
from tasks.report.costs import costs, duration, stages
from tasks.report.debugger import debugger_data
from tasks.report.meanings import grouped
from tasks.report.packed import packed_ply, weightiest
from tasks.report.room import MAX_BYTES, Embedded, Offered, embed, size
from tasks.run_record import read_asset

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("orbit.js", "splats.js", "mesh.js", "debugger.js", "page.js")
PLY, VIDEO, PREVIEW, RECORD = "gaussians.ply", "turntable.mp4", "preview.png", "run.json"
REPORT = "report.html"
PACKED = "gaussians.compressed.ply"
ORDER = (MESH, LITE, PLY, PACKED, VIDEO, PREVIEW, RECORD)  # of the buttons
MAX_GAUSSIANS = 50_000  # in the page, 1.1 MB there: the mesh, too, has to fit
MAX_STRIPS_BYTES = 1_000_000  # of the debugger's pictures
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; media-src data:; "
    "style-src 'sha256-{style}'; script-src 'sha256-{script}'"
)


def write_report(asset_dir: Path) -> Path:
    """Write `asset_dir`/report.html from run.json and the files beside it; returns its path.

    Raises:
        UserError: run.json is missing or damaged, or the page cannot be written.
    """
    record = read_asset(asset_dir)
    path = asset_dir / REPORT
    with atomic_write(path) as temporary:
        temporary.write_text(_page(asset_dir, record), encoding="utf-8")
    return path


def _page(asset_dir: Path, record: dict[str, Any]) -> str:
    """The page, at most `MAX_BYTES` long as far as its files and strips can be left out."""
    content = _content(asset_dir, record)
    nothing = {"downloads": [], "videos": [], "beside": [], "debugger": [], "debugger_json": "null"}
    room = MAX_BYTES - len(_template().render(content, **nothing).encode()) - 2000
    stem = slug(str(record["prompt"]))

    def fitting(files: list[Offered]) -> list[Embedded]:
        nonlocal room
        found = list(embed(asset_dir, files, stem, room))
        room -= sum(len(file.uri) + 400 for file in found)
        return found

    first = fitting(_seen(content))
    strips = debugger_data(asset_dir, record, min(room, MAX_STRIPS_BYTES))
    room -= 2 * len(strips)  # the last of them stand in the page itself too
    files = [*first, *fitting(_kept(record))]
    files.sort(key=lambda file: ORDER.index(file.offered.name))
    content |= {
        "downloads": files,
        "videos": [file for file in files if file.offered.name == VIDEO],
        "beside": _beside(asset_dir, record, {file.offered.name for file in files}),
        "debugger": json.loads(strips) or [],
        "debugger_json": strips,
    }
    return str(_template().render(content))


def _seen(content: dict[str, Any]) -> list[Offered]:
    """Files that the page shows."""
    packed = content["splats"] and content["splats"]["packed"]
    return [
        *([_packed(packed)] if packed else []),
        Offered(MESH, "GLB mesh", "model/gltf-binary", "for Blender, games, the web", "mesh-file"),
        Offered(VIDEO, "MP4 turntable", "video/mp4", "one turn", "video-file"),
    ]


def _packed(content: bytes) -> Offered:
    title = "16 bytes a Gaussian, for SuperSplat and other viewers of splats"
    kind = "application/octet-stream"
    return Offered(PACKED, "Compressed PLY", kind, title, "splat-file", content)


def _kept(record: dict[str, Any]) -> list[Offered]:
    """Files that it holds for who wants them, where there is room."""
    files = {name: sha for name, sha in record["files"].items() if name != REPORT}  # not its own
    own = json.dumps(record | {"files": files}, indent=2).encode()
    kind, light = "application/octet-stream", "fewer triangles, packed for the web"
    return [
        Offered(RECORD, "JSON record", "application/json", "settings, versions", "", own),
        *([Offered(LITE, "Light GLB", "model/gltf-binary", light)] if LITE in files else []),
        Offered(PLY, "PLY splats", kind, "for every viewer of Gaussian splats"),
        Offered(PREVIEW, "PNG preview", "image/png", "nine views in one picture"),
    ]


def _beside(asset_dir: Path, record: dict[str, Any], embedded: set[str]) -> list[str]:
    """This run's files that are not in the page; an earlier one's may lie beside them."""
    exports = [name for name in EXPORTS if name in record["files"]]
    lite = [LITE] if LITE in record["files"] else []
    names = [MESH, *lite, PLY, VIDEO, PREVIEW, RECORD, *exports]
    paths = [asset_dir / name for name in dict.fromkeys(names) if name not in embedded]
    return [f"{path.name} ({size(path.stat().st_size)})" for path in paths if path.is_file()]


def _content(asset_dir: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What the template shows, but for files and the debugger's pictures."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    parts = "".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(function () {{\n"use strict";\n{parts}}})();\n'
    look = _turntable(record)
    again, whole = command(record)
    part = "" if whole else "Its settings are another version's: see below. "
    seconds = sum(float(stage.get("seconds") or 0) for stage in record["stages"].values())
    code = record["code"] if isinstance(record["code"], dict) else {"version": record["code"]}
    return {
        "policy": POLICY.format(style=_sha256(style), script=_sha256(script)),
        "style": style,
        "script": script,
        "prompt": record["prompt"],
        "facts": [f"seed {record['seed']}", f"{duration(seconds)} on {record['device']}"]
        + ["made by StableDreamer"],
        "splats": _splats(asset_dir, look),
        "mesh": _mesh(asset_dir, record, look),
        "eight": pictures.eight_views(asset_dir / PREVIEW),
        "stages": stages(record, _stage_pictures(asset_dir, look)),
        "metrics": grouped(record["metrics"]),
        "costs": costs(record),
        "command": again,
        "command_note": f"{part}On a CPU, with the same versions, it gives the same bits.",
        "settings": json.dumps(record["config"], indent=2),
        "versions": {"StableDreamer": " ".join(map(str, code.values())), **record["packages"]},
    }


def _splats(asset_dir: Path, look: Turntable) -> dict[str, Any] | None:
    """The viewer of the Gaussians; none where they cannot be read."""
    try:
        splats = load_ply(asset_dir / PLY)
    except UserError:
        return None
    count = len(splats["means"])
    if not count:
        return None
    about, shown = _counted(count, "Gaussian", "Gaussians"), splats
    if count > MAX_GAUSSIANS:
        shown = weightiest(splats, MAX_GAUSSIANS)
        about += f", the weightiest {MAX_GAUSSIANS:,} here"
    return {
        "about": about,
        "poster": pictures.from_azimuth(splats, look, pictures.THREE_QUARTER_DEG),
        "front": pictures.from_azimuth(splats, look, 0.0),
        "packed": packed_ply(shown),
    }


def _mesh(asset_dir: Path, record: dict[str, Any], look: Turntable) -> dict[str, Any] | None:
    """The viewer of the mesh; none where there is no surface."""
    facts = record.get("mesh") or {}
    poster = pictures.mesh(asset_dir / MESH, look.background)
    if poster is None and not (facts.get("faces") and (asset_dir / MESH).is_file()):
        return None
    counts = (("faces", "triangle", "triangles"), ("vertices", "vertex", "vertices"))
    about = [_counted(facts[key], *words) for key, *words in counts if key in facts]
    return {"about": ", ".join(about), "poster": poster}


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _stage_pictures(asset_dir: Path, look: Turntable) -> dict[str, str | None]:
    paths = {"stage1": STAGE1, "stage2": STAGE2}
    return {name: pictures.four_sides(asset_dir / path, look) for name, path in paths.items()}


def _turntable(record: dict[str, Any]) -> Turntable:
    try:
        return Turntable.model_validate(record["config"]["turntable"])
    except (KeyError, TypeError, ValueError):
        return Turntable()


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own"] = Markup  # of this folder, and drawings made from numbers
    return environment.get_template("report.html")
