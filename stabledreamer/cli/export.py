"""stabledreamer export: a finished asset in the formats of other programs."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer export outputs/a-blue-car-s3 --format spz
  stabledreamer export outputs/a-blue-car-s3 --format compressed-ply usdz --out for-the-web
  stabledreamer export outputs/a-blue-car-s3 --format all --check
"""

app = App(name="export", help_epilogue=EXAMPLES)


@app.default
def export(
    dir: Path,
    /,
    *,
    formats: Annotated[tuple[str, ...], Parameter(name="--format", consume_multiple=True)] = (),
    out: Path | None = None,
    check: bool = False,
) -> int:
    """Write a finished asset in the formats of other programs.

    docs/outputs.md says which program opens what.

    Args:
        dir: the asset's folder.
        formats: Gaussians: ply, compressed-ply, spz, spz-v4, sog, gltf; mesh: usdz, obj, stl; or
            all. Several may be given.
        out: where the files go; default the asset's folder.
        check: read each file of Gaussians back, and print the PSNR of its renders.
    """
    if not formats:
        raise UserError("say which formats: --format spz usdz, or --format all")
    from stabledreamer_core.assets.formats import SPLATS, named_formats
    from stabledreamer_core.assets.formats import export as write
    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from tasks.keys import MESH, STAGE2
    from tasks.run_record import read_asset

    names = named_formats((part for one in formats for part in one.split(",") if part), check)
    read_asset(dir)
    splats, _ = load_checkpoint(dir / STAGE2)
    folder = out or dir
    for name in names:  # one at a time: what is written is said
        files = write([name], splats, dir / MESH, folder)[name]
        size = sum((folder / file).stat().st_size for file in files)
        psnr = ""
        if check and name in SPLATS:
            from stabledreamer_core.assets.fidelity import psnr_of

            psnr = f"  {psnr_of(splats, SPLATS[name].load(folder / files[0])):6.1f} dB"
        print(f"{name:14s} {size / 1e6:7.2f} MB{psnr}  {folder / files[0]}", flush=True)
    return 0
