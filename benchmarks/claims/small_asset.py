"""One step of one asset of the small benchmark, as dvc.yaml calls it.

    python -m benchmarks.claims.small_asset stage1 bear default
    python -m benchmarks.claims.small_asset stage2 bear default
    python -m benchmarks.claims.small_asset evaluate bear default

Prompts and recipes are those of benchmarks/claims/small.yaml. A stage that was interrupted goes on
where it was: its state lies under outputs/benchmark/work, keyed by all that decides its result.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from stabledreamer_core.optimization.observe import Progress
    from stabledreamer_core.settings.config import Config
    from stabledreamer_core.settings.stage import StageName

SETTINGS = Path("benchmarks/claims/small.yaml")
OUT = Path("outputs/benchmark")
WORK = OUT / "work"
LOSSES = "losses.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("step", choices=("stage1", "stage2", "evaluate"))
    parser.add_argument("prompt", help="a name under `prompts`")
    parser.add_argument("recipe", help="a name under `recipes`")
    arguments = parser.parse_args()
    settings = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before torch and numba are imported
        os.environ[variable] = str(settings["threads"])
    try:
        if arguments.step == "evaluate":
            evaluate(settings, arguments.prompt, arguments.recipe)
        else:
            stage(settings, arguments.step, arguments.prompt, arguments.recipe)
    except UserError as error:
        sys.exit(f"benchmark: {error}")


def stage(settings: dict[str, Any], name: "StageName", prompt_name: str, recipe: str) -> None:
    """Run a stage; writes its Gaussians and its loss at up to about 100 steps."""
    from stabledreamer.runtime.root import EMBEDDINGS, ROOT
    from stabledreamer_core.files import sha256_of
    from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
    from stabledreamer_core.optimization.stage import run_stage
    from tasks.keys import STAGE1, STEPS, step_key

    config, prompt, seed = recipe_config(settings, recipe), *asked(settings, prompt_name)
    folder = OUT / f"{prompt_name}-{recipe}"
    start = load_checkpoint(folder / STAGE1)[0] if name == "stage2" else None
    inputs = {STAGE1: sha256_of(folder / STAGE1)} if name == "stage2" else {}
    work = WORK / step_key(name, config, prompt, seed, inputs)[:16]
    result = run_stage(
        *(config, name, prompt, seed, start),
        work_dir=work,
        base=ROOT,
        cache_dir=EMBEDDINGS,
        progress=_keep_losses(work),
    )
    save_checkpoint(folder / STEPS[name].outputs[0], result.splats, {})
    _write_losses(work, OUT / "losses" / f"{prompt_name}-{recipe}-{name}.csv")
    shutil.rmtree(work)
    record = result.record
    print(f"{name}: {record['iterations']} steps in {record['seconds']:.1f} s", flush=True)


def evaluate(settings: dict[str, Any], prompt_name: str, recipe: str) -> None:
    """Measure what both stages left; the mesh, PLY and preview are of the finished asset."""
    import torch

    from stabledreamer_core.assets.splats.ply import save_ply
    from stabledreamer_core.assets.turntable import write_preview
    from stabledreamer_core.files import atomic_write
    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from tasks.keys import MESH, STAGE1, STAGE2

    config, prompt, seed = recipe_config(settings, recipe), *asked(settings, prompt_name)
    folder, device = OUT / f"{prompt_name}-{recipe}", torch.device(config.device)
    figures: dict[str, Any] = {"prompt": prompt, "seed": seed, "recipe": recipe}
    if config.stage1.iterations:
        splats = load_checkpoint(folder / STAGE1)[0]
        with TemporaryDirectory() as aside:
            figures["stage1"] = measure(splats, prompt, config, Path(aside) / MESH)
    splats = load_checkpoint(folder / STAGE2)[0]
    figures["stage2"] = measure(splats, prompt, config, folder / MESH)
    save_ply(splats, folder / "gaussians.ply")
    write_preview(splats, config.turntable, folder / "preview.png", device)
    with atomic_write(OUT / "metrics" / f"{prompt_name}-{recipe}.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(splats: Any, prompt: str, config: "Config", mesh: Path) -> dict[str, float | None]:
    """Make the mesh at the path given, and return all metrics, those it takes included."""
    import torch

    from stabledreamer_core.assets.mesh.extract import write_mesh
    from toybox.metrics.evaluate import evaluate as figures_of

    device = torch.device(config.device)
    write_mesh(splats, config.mesh.shape(), mesh, device)
    figures = figures_of(splats, prompt, config.evaluate, device, mesh)
    return {name: None if value is None else round(value, 6) for name, value in figures.items()}


def recipe_config(settings: dict[str, Any], recipe: str) -> "Config":
    """params.yaml under the quick preset under a recipe's sections, on the CPU.

    Raises:
        UserError: no such recipe, or a setting of it is wrong.
    """
    from stabledreamer.runtime.settings import load_config

    recipes = settings["recipes"]
    if recipe not in recipes:
        raise UserError(f"{SETTINGS} has no recipe {recipe!r}; it has {', '.join(recipes)}")
    sections = [f"{name}={json.dumps(values)}" for name, values in recipes[recipe].items()]
    return load_config(overrides=["device=cpu", *sections], quick=True)


def asked(settings: dict[str, Any], prompt_name: str) -> tuple[str, int]:
    """The prompt of a name, and the seed.

    Raises:
        UserError: no such prompt.
    """
    prompts = settings["prompts"]
    if prompt_name not in prompts:
        raise UserError(f"{SETTINGS} has no prompt {prompt_name!r}; it has {', '.join(prompts)}")
    return prompts[prompt_name], settings["seed"]


def _keep_losses(work: Path) -> Callable[["Progress"], None]:
    """Note the loss at up to about 100 steps in the work folder, so that resuming loses none."""
    work.mkdir(parents=True, exist_ok=True)

    def note(progress: "Progress") -> None:
        if progress.step % max(1, progress.iterations // 100) == 0:
            with open(work / LOSSES, "a", encoding="utf-8") as file:
                file.write(f"{progress.step / progress.iterations:.4f},{progress.loss:.6g}\n")

    return note


def _write_losses(work: Path, path: Path) -> None:
    """The noted losses in order; steps done twice, before and after a kill, count once."""
    from stabledreamer_core.files import atomic_write

    noted = (work / LOSSES).read_text(encoding="utf-8") if (work / LOSSES).exists() else ""
    lines = dict(line.split(",") for line in noted.splitlines() if line.count(",") == 1)
    with atomic_write(path) as temporary:
        text = [f"{progress},{loss}\n" for progress, loss in sorted(lines.items())]
        temporary.write_text("progress,loss\n" + "".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
