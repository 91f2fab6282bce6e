"""A dream at true size: published architectures with random weights, from prompt to GLB.

    python -m benchmarks.speed.rehearsal sd21 [--whole]      # one pipeline of architectures.yaml
    python -m benchmarks.speed.rehearsal sd15 --card-gb 8    # as on a GPU of so much memory
    python -m benchmarks.speed.rehearsal all                 # each in a process of its own
    python -m benchmarks.speed.rehearsal table               # metrics/rehearsal.csv as Markdown

The stage loop runs with params/paper.yaml's settings (4 views, guidance, 50,000 Gaussians for a
latent prior and 4,096 for one of pixels) at the prior's own resolution, and beside it its networks
alone, called eagerly through diffusers' own classes as often as a step needs them: the denoiser
without gradient for every view with and without the prompt, the VAE's encoder there and back.
`ratio` is the loop's time to theirs; `overhead` is its time to that of its own networks alone, as
fast as they run in it: 1 would be a loop that costs nothing. Random weights take as long as trained
ones; what they make is noise. Rows are appended to OUT/rehearsal.csv.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.architectures import read
from benchmarks.speed.networks_alone import networks_alone, time_prior, wait
from benchmarks.speed.random_pipeline import random_weights, sizes, write_folder
from stabledreamer.runtime.root import PARAMS, ROOT
from stabledreamer_core.distillation.view_prompts import view_prompts
from stabledreamer_core.memory import peak_memory_bytes
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.observe import Observation, Progress
from stabledreamer_core.optimization.stage import StageResult, pick_device, run_stage
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.priors.acceleration import Acceleration, keep_compiled
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.memory_plan import GB, gpu_bytes, has_eight_bit, plan_memory
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config, load_config
from stabledreamer_core.settings.stage import Stage, StageName

PROMPT = "a dslr photo of a corgi wearing a top hat"
PAPER = ROOT / "params/paper.yaml"
ROWS = ROOT / "metrics/rehearsal.csv"
WARM_UP = 20  # steps that are not counted; two of the loop's looks at a GPU
OTHER_STAGE = 60  # steps of the stage that is not measured
STEPS_OF_A_STAGE = 5000
COLUMNS = [
    *("pipeline", "model", "card", "torch", "dtype", "acceleration", "resolution", "views"),
    *("gaussians", "card_gb", "plan"),
    *("text_s", "text_gb", "denoiser_ms", "vae_ms", "networks_ms", "warm_up_s", "steps"),
    *(
        "loop_ms",
        "ratio",
        "fast_ms",
        "overhead",
        "peak_gb",
        "minutes",
        "rollbacks",
        "mesh_s",
        "faces",
        "whole_s",
        "error",
    ),
]
Row = dict[str, Any]


def rehearse(
    name: str,
    device: torch.device,
    out: Path,
    *,
    steps: int,
    seconds: float,
    whole: bool = False,
    acceleration: Acceleration = "auto",
    card_gb: float = 0.0,
) -> Row:
    """Measure one pipeline.

    Args:
        steps: of the measured stage, after its warm-up; fewer, down to ten, where the networks
            alone would take longer than `seconds`.
        whole: run both stages and make the mesh; else the measured stage alone.
        acceleration: of the networks in the loop; "auto" does not compile for so few steps, though
            it does for a stage of thousands.
        card_gb: let the allocator give no more than a GPU of so much memory has; 0: all there is.
    """
    described, began = read()["pipelines"][name], time.perf_counter()
    dtype = described["dtype"] if device.type == "cuda" else "float32"
    latent = FAMILIES[described["index"]["_class_name"]].space == "latent"
    measured: StageName = "stage2" if latent else "stage1"
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "prior", Path(scratch) / "embeddings"
        write_folder(name, folder)
        with random_weights({folder: name}) as spent:
            cap(card_gb)
            prior = load_prior(str(folder), dtype=dtype, device=device, cache_dir=cache)
            config = stages_of(prior, device, acceleration)
            stage = config.stage(measured)
            embeddings, row = embed(prior, stage, spent)
            if card_gb:
                plan = plan_memory(
                    sizes(name, prior.dtype, prior.resolution),
                    *(gpu_bytes(device), has_eight_bit(), name),
                )
                row |= {"card_gb": card_gb, "plan": plan.words()}
            cap(0.0)  # beside the prior's own
            row |= networks_alone(name, prior, stage.views, embeddings, seconds / 4)
            cap(card_gb)
            whole_steps = int(seconds * 1e3 / row["networks_ms"]) // 10 * 10
            steps = max(min(steps, whole_steps), min(steps, 10))
            del prior

            warm_up = min(WARM_UP, steps)
            splats, row["steps"] = None, steps
            for stage_name in ("stage1", "stage2") if whole else (measured,):
                count = warm_up + steps if stage_name == measured else min(OTHER_STAGE, steps)
                clock = Clock(device)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    result = run(config, stage_name, count, splats, cache, clock)
                splats = result.splats
                if stage_name == measured:
                    row |= loop_row(result, clock, warm_up, stage, row["networks_ms"])
                    assert clock.prior is not None
                    fast = time_prior(clock.prior, stage.views, embeddings, seconds / 4)
                    row |= {"fast_ms": fast, "overhead": round(row["loop_ms"] / fast, 3)}
                    row["rollbacks"] = sum("going back" in str(each.message) for each in caught)
    if whole and splats is not None:
        row |= keep(splats, config, out / name, device)
        row["whole_s"] = round(time.perf_counter() - began, 1)
    row["minutes"] = round((STEPS_OF_A_STAGE * row["loop_ms"] / 1e3 + row["text_s"]) / 60, 1)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    about = {"pipeline": name, "model": described["model"], "card": card, "dtype": dtype}
    return about | {"torch": torch.__version__, "acceleration": acceleration} | row


def cap(card_gb: float) -> None:
    """Let the allocator give so much memory and no more; 0: all there is."""
    if torch.cuda.is_available():
        memory = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(card_gb * GB / memory if card_gb else 1.0)


def stages_of(prior: Prior, device: torch.device, acceleration: Acceleration) -> Config:
    """Return the paper's settings with this prior in both stages, at its resolution."""
    config = load_config([PARAMS, PAPER])
    asked = {
        "prior": str(prior.folder),
        "revision": None,
        "variant": None,
        "dtype": str(prior.dtype).removeprefix("torch."),
        "resolution": prior.resolution,
        "coarse_resolution": 0,
    }
    stages = {key: config.stage(key).model_copy(update=asked) for key in ("stage1", "stage2")}
    return config.model_copy(update=stages | {"device": device.type, "acceleration": acceleration})


def embed(prior: Prior, stage: Stage, spent: dict[str, float]) -> tuple[Tensor, Row]:
    """Embed a run's prompts; the text encoders' time (without making them) and memory."""
    if prior.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(prior.device)
    began = time.perf_counter()
    embeddings = prior.embed([*view_prompts(PROMPT, stage.view_words), ""])
    seconds = time.perf_counter() - began - spent["text_build_s"]
    if not embeddings.isfinite().all():
        raise SystemExit("the text encoders' random weights overflow: embeddings are not finite")
    peak = peak_memory_bytes(prior.device) / 1e9
    return embeddings, {"text_s": round(seconds, 2), "text_gb": round(peak, 1)}


class Clock:
    """When each step that the loop tells of was done on the device."""

    def __init__(self, device: torch.device):
        self.device, self.began = device, time.perf_counter()
        self.times: dict[int, float] = {}  # steps done -> seconds
        self.prior: Prior | None = None  # the loop's own

    def __call__(self, progress: Progress) -> None:
        """Note a step."""
        wait(self.device)
        self.times[progress.step] = time.perf_counter() - self.began

    def observe(self, now: Observation) -> None:
        """Keep the loop's prior."""
        self.prior = now.prior


def run(
    config: Config, name: StageName, steps: int, start: Splats | None, cache: Path, clock: Clock
) -> StageResult:
    """Run a stage for so many steps."""
    short = config.stage(name).model_copy(update={"iterations": steps})
    config = config.model_copy(update={name: short})
    return run_stage(
        *(config, name, PROMPT, 0, start),
        cache_dir=cache,
        progress=clock,
        observe=clock.observe,
    )


def loop_row(
    result: StageResult, clock: Clock, warm_up: int, stage: Stage, networks_ms: float
) -> Row:
    """What the measured stage cost, from its warm-up to its last step."""
    first = min(step for step in clock.times if step >= warm_up)
    last = max(clock.times)
    if first == last:
        raise SystemExit("the loop told of one step alone: too few steps to measure")
    spent = 1e3 * (clock.times[last] - clock.times[first]) / (last - first)
    return {
        "resolution": stage.resolution,
        "views": stage.views,
        "gaussians": result.record["gaussians"],
        "warm_up_s": round(clock.times[first], 1),
        "loop_ms": round(spent, 2),
        "ratio": round(spent / networks_ms, 3),
        "peak_gb": round(result.record["peak_memory_bytes"] / 1e9, 1),
    }


def keep(splats: Splats, config: Config, folder: Path, device: torch.device) -> Row:
    """Keep the scene, and its mesh where the packages for it are installed."""
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "scene.safetensors", splats, {})
    try:
        from stabledreamer_core.assets.mesh.extract import write_mesh
    except ImportError as error:
        return {"error": f"no mesh here ({error}): rehearsal mesh makes it from the scene"}
    began = time.perf_counter()
    facts = write_mesh(splats, config.mesh, folder / "asset.glb", device)
    return {"mesh_s": round(time.perf_counter() - began, 1), "faces": facts["faces"]}


def append(row: Row, file: Path, columns: list[str] = COLUMNS) -> None:
    """Add a row to a CSV file, which is begun where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = not file.exists()
    with open(file, "a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, columns, restval="", lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def rehearse_each(names: list[str], arguments: argparse.Namespace) -> None:
    """Run pipelines in processes of their own, each within its limit, all within theirs."""
    began = time.perf_counter()
    for name in names:
        left = arguments.total - (time.perf_counter() - began)
        limit = min(arguments.limit, left)
        command = [sys.executable, "-m", "benchmarks.speed.rehearsal", name]
        command += ["--steps", str(arguments.steps), "--seconds", str(arguments.seconds)]
        command += ["--device", arguments.device, "--acceleration", arguments.acceleration]
        command += ["--out", str(arguments.out)]
        command += ["--whole"] if arguments.whole else []
        command += ["--card-gb", str(arguments.card_gb)]
        try:
            if limit < 10.0:
                raise subprocess.TimeoutExpired(command, limit)
            subprocess.run(command, check=True, timeout=limit, stderr=subprocess.PIPE, text=True)
            continue
        except subprocess.TimeoutExpired:
            error = f"not done within {limit:.0f} s"
        except subprocess.CalledProcessError as failed:
            error = (failed.stderr.strip().splitlines() or ["no message"])[-1][:200]
        append({"pipeline": name, "error": error}, arguments.out / ROWS.name)
        print(f"{name}: {error}", flush=True)


def meshes(out: Path) -> None:
    """Make asset.glb beside every scene that lacks one."""
    from stabledreamer_core.assets.mesh.extract import write_mesh

    settings = load_config([PARAMS, PAPER]).mesh
    for scene in sorted(out.glob("*/scene.safetensors")):
        asset = scene.with_name("asset.glb")
        if not asset.exists():
            splats, _ = load_checkpoint(scene)
            print(scene.parent.name, write_mesh(splats, settings, asset, torch.device("cpu")))


def table(file: Path) -> str:
    """Return the rows of a CSV file as Markdown."""
    if not file.exists():
        raise SystemExit(f"there are no rows yet: {file}")
    with open(file, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    head = "| pipeline | image | run as | text, s | networks alone, ms | step, ms | ratio"
    lines_ = [f"{head} | overhead | peak, GB | 5,000 steps, min |", "| --- " * 10 + "|"]
    for row in rows:
        if row["loop_ms"]:
            alone = f"{row['denoiser_ms']} + {row['vae_ms']} = {float(row['networks_ms']):.1f}"
            how = f"{row['dtype']}, {row['acceleration']}"
            name = row["pipeline"]
            name += f", of {float(row['card_gb']):.0f} GB" if row["card_gb"] else ""
            cells = [name, row["resolution"], how, row["text_s"], alone]
            cells += [row[key] for key in ("loop_ms", "ratio", "overhead", "peak_gb", "minutes")]
        else:
            cells = [row["pipeline"], *[""] * 8, row["error"]]
        lines_.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*read()["pipelines"], "all", "mesh", "table"]
    parser.add_argument("names", nargs="+", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--steps", type=int, default=40, help="a multiple of 10, on a GPU")
    parser.add_argument("--seconds", type=float, default=8.0, help="of the networks, at most")
    parser.add_argument("--whole", action="store_true", help="both stages and the mesh")
    parser.add_argument("--out", type=Path, default=Path("outputs/rehearsal"))
    parser.add_argument("--limit", type=float, default=90.0, help="seconds a pipeline, of several")
    parser.add_argument("--total", type=float, default=3600.0, help="seconds of several together")
    parser.add_argument("--card-gb", type=float, default=0.0, help="memory of a smaller GPU")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    choices = ["auto", "none", "graphs", "compile"]
    parser.add_argument("--acceleration", default="auto", choices=choices)
    arguments = parser.parse_args()
    names = list(read()["pipelines"]) if arguments.names == ["all"] else arguments.names
    if names == ["table"]:
        print(table(ROWS))
    elif names == ["mesh"]:
        meshes(arguments.out)
    elif len(names) > 1:
        rehearse_each(names, arguments)
    else:
        keep_compiled(ROOT / ".cache/compiled")
        row = rehearse(
            *(names[0], pick_device(arguments.device), arguments.out),
            steps=arguments.steps,
            seconds=arguments.seconds,
            whole=arguments.whole,
            acceleration=arguments.acceleration,
            card_gb=arguments.card_gb,
        )
        append(row, arguments.out / ROWS.name)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
