"""The settings of this checkout: the defaults, params.yaml, a preset, the user's file.

A preset is a file in params/, called by its name: `paper` is params/paper.yaml. `--quick` is the
preset of that name, for the bundled priors.
"""

from collections.abc import Sequence
from pathlib import Path

from stabledreamer.runtime.root import PARAMS, PRESETS, QUICK
from stabledreamer_core.errors import UserError, did_you_mean
from stabledreamer_core.settings import config
from stabledreamer_core.settings.config import Config

TRANSLUCENT = (  # --translucent: for a ghost, a glass or a jelly (docs/outputs.md)
    "stage1.regularizers.opacity=0",
    "stage2.regularizers.opacity=0",
    "turntable.checkers=true",
    "mesh.see_through=true",
    "mesh.material=unlit",  # no shading in a jelly's colours can be divided out
)


def load_config(
    params_file: Path | None = None,
    overrides: Sequence[str] | None = None,
    quick: bool = False,
    preset: str | None = None,
) -> Config:
    """params.yaml, then the preset, then the user's file, then `a.b=c` overrides.

    Raises:
        UserError: an unknown preset, a file that is missing or no YAML mapping, an unknown key, a
            bad value.
    """
    return config.load_config(params_files(params_file, quick, preset), overrides or ())


def params_files(params_file: Path | None, quick: bool, preset: str | None) -> list[Path]:
    """List the files of settings, each of which is laid over those before it.

    Raises:
        UserError: an unknown preset, or two of them.
    """
    if quick and preset not in (None, QUICK.stem):
        raise UserError(
            f"--quick is itself a preset, for the bundled priors; with --preset {preset} shorten"
            " the run by --set stage1.iterations=1000 --set stage2.iterations=1000"
        )
    chosen = QUICK.stem if quick else preset
    files = [PARAMS, *([preset_file(chosen)] if chosen else [])]
    return [*files, *([Path(params_file)] if params_file else [])]


def preset_file(name: str) -> Path:
    """Return the file of a preset.

    Raises:
        UserError: there is none of that name.
    """
    known = presets()
    if name not in known:
        raise UserError(
            f"no preset {name[:80]!r}{did_you_mean(name, known)}; there are {', '.join(known)};"
            " a file of your own goes to --params"
        )
    return PRESETS / f"{name}.yaml"


def presets() -> list[str]:
    """List the presets' names."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))
