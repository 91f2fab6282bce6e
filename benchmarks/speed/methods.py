"""Seconds that each recipe of a search takes for a stage, here: what equal time is worth in calls.

    OMP_NUM_THREADS=2 python -m benchmarks.speed.methods benchmarks/claims/targets_stage1.yaml
    OMP_NUM_THREADS=2 python -m benchmarks.speed.methods benchmarks/claims/targets_stage2.yaml \\
        --start outputs/targets-1/plys/default/red-bunny-wearing-a-cyan-scarf-s0-1.ply

Runs the first steps of every recipe, one recipe after another and then all of them again, takes
the median second of a step with a new target and of one without, and counts how many of each the
whole stage has. Stage 2 needs the Gaussians of a stage 1, `--start`: a ball's take ten times as
long. `ratio` is to the first recipe. Nothing else may run.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.search.results import recipe_config
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.optimization.observe import Observation
from stabledreamer_core.optimization.stage import run_stage
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.stage import StageName

Times = dict[bool, list[float]]  # seconds of steps, by whether they asked the prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="a search file, as make_assets takes it")
    parser.add_argument("--start", type=Path, help="a PLY file to time stage 2 from")
    parser.add_argument("--targets", type=int, default=6, help="new ones in a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of recipes")
    arguments = parser.parse_args()
    search = yaml.safe_load(arguments.file.read_text())
    names = arguments.only or list(search["recipes"])
    recipes = {name: [*search.get("base", []), *search["recipes"][name]] for name in names}
    times: dict[str, Times] = {name: {True: [], False: []} for name in names}
    start = arguments.start and load_ply(arguments.start)
    stage: StageName = "stage2" if start else "stage1"
    for _ in range(arguments.rounds):
        for name, overrides in recipes.items():
            _time_steps(overrides, stage, start, arguments.targets, times[name])
    print(seconds_table(recipes, times, stage))


def seconds_table(recipes: dict[str, list[str]], times: dict[str, Times], name: StageName) -> str:
    """Markdown: a line a recipe."""
    head = ["", "targets", "s, with a new target", "s, without", "s, the stage", "ratio"]
    lines, first = [head, ["---"] * len(head)], 0.0
    for recipe, overrides in recipes.items():
        stage = recipe_config(overrides).stage(name)
        asked = -(-stage.iterations // stage.target_reuse)
        new, old = (median(times[recipe][is_new] or [0.0]) for is_new in (True, False))
        whole = asked * new + (stage.iterations - asked) * old
        first = first or whole
        seconds = [f"{new:.3f}", f"{old:.3f}", f"{whole:.1f}", f"{whole / first:.2f}"]
        lines.append([recipe, str(asked), *seconds])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time_steps(
    overrides: list[str], name: StageName, start: Splats | None, targets: int, times: Times
) -> None:
    """Add the seconds of a run's first steps, the very first left out: it loads and compiles."""
    reuse = recipe_config(overrides).stage(name).target_reuse
    config = recipe_config([*overrides, f"{name}.iterations={targets * reuse + 1}"])
    last: float | None = None

    def watch(now: Observation) -> None:
        nonlocal last
        ended = time.monotonic()
        if last is not None:
            times[now.asked is not None].append(ended - last)
        last = ended

    places = {"base": ROOT, "cache_dir": EMBEDDINGS}
    run_stage(config, name, "a red bear wearing a top hat", 0, start, observe=watch, **places)


if __name__ == "__main__":
    main()
