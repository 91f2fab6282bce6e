"""Assets an hour of a suite, by the number of GPUs (with Ray) or of threads.

    python -m benchmarks.speed.scaling --gpus 1 2 --assets 64 --batch 16        # 16 cores a GPU
    python -m benchmarks.speed.scaling --threads 1 2 --assets 4 --quick         # no GPU

Every size makes as many assets a GPU (or, with threads, in all), each with seeds of its own and a
PREFECT_HOME of its own, so that nothing is taken from a size before; with Ray it sees its share of
GPUs and cores alone, whole cores: of a core that runs two threads, both are the same GPU's. A small
suite goes first and is not counted: it reads files from disk that later runs find in memory.
`efficiency` is the rate over that of the first size, and over the ratio of the sizes. Times include
the start of the program, of Ray and of its workers; `from the first` counts the assets after the
first one by the time after it.

A size's line is appended to OUT/results.jsonl as soon as it is done. Nothing else may run.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from flows.prompts_file import read_prompts

WARM_SEED, FIRST_SEED = 9_000, 10_000
CORES_A_GPU = 16
DYING_S = 30.0  # for a suite that took too long to end by itself


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    sizes = parser.add_mutually_exclusive_group(required=True)
    sizes.add_argument("--gpus", type=int, nargs="+", metavar="N")
    sizes.add_argument("--threads", type=int, nargs="+", metavar="N")
    parser.add_argument("--assets", type=int, default=16, help="a GPU; with threads, in all")
    parser.add_argument("--prompts", type=Path, default=Path("prompts/toybox.yaml"))
    parser.add_argument("--limit", type=float, default=1e6, help="seconds a size may take")
    parser.add_argument("--out", type=Path, default=Path("outputs/scaling"))
    parser.add_argument("--no-warm-up", action="store_true")
    arguments, others = parser.parse_known_args()  # others are the suite's: --quick, --batch, --set
    out = arguments.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if not arguments.no_warm_up:
        size = max(arguments.gpus or arguments.threads)
        measure(arguments, others, size, 2, WARM_SEED, out / "warm-up")
    rows = []
    for place, size in enumerate(arguments.gpus or arguments.threads):
        assets = arguments.assets * (size if arguments.gpus else 1)
        seed = FIRST_SEED + 100 * place
        rows.append(measure(arguments, others, size, assets, seed, out / f"size-{size}"))
        with open(out / "results.jsonl", "a") as log:
            log.write(json.dumps(rows[-1]) + "\n")
    print(table(rows, "GPUs" if arguments.gpus else "threads"))


def measure(
    arguments: argparse.Namespace,
    others: list[str],
    size: int,
    assets: int,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Run a suite of its own; what it made, and when (seconds after its start)."""
    folder.mkdir()  # an old one's assets would be found finished
    prompts = read_prompts(arguments.prompts)[0]
    seeds = -(-assets // len(prompts))
    asked = prompts[: -(-assets // seeds)]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"prompts": asked}))
    own = ["--seeds", *(str(seed + index) for index in range(seeds)), *others]
    began = time.time()
    code = run_suite(folder, own, size, bool(arguments.gpus), arguments.limit)
    seconds = time.time() - began
    ends = sorted(path.stat().st_mtime - began for path in folder.glob("suite/*/run.json"))
    return {
        "size": size,
        "asked": len(asked) * seeds,
        "exit_code": code,
        "seconds": round(seconds, 1),
        "ends": [round(end, 1) for end in ends],
    }


def run_suite(folder: Path, own: list[str], size: int, gpus: bool, limit: float) -> int | None:
    """The suite's exit code; None if it took longer than `limit` and was stopped."""
    command = [
        sys.executable,
        "-c",
        "import sys; from stabledreamer.cli.main import main; sys.exit(main())",
    ]
    command += ["suite", str(folder / "prompts.yaml"), "--out", str(folder / "suite"), *own]
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    cores = os.sched_getaffinity(0)
    if gpus:
        command += ["--runner", "ray", "--workers", str(size * CORES_A_GPU)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(size)))
        cores = set(neighbours(cores)[: size * CORES_A_GPU])
    else:
        command += ["--workers", str(size)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        os.sched_setaffinity(process.pid, cores)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            process.wait(DYING_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None


def neighbours(processors: set[int]) -> list[int]:
    """Processors, those beside each other that share a core (Linux)."""

    def core(processor: int) -> tuple[int, int]:
        file = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        shared = re.findall(r"\d+", file.read_text()) if file.exists() else []
        return min([processor, *map(int, shared)]), processor

    return sorted(processors, key=core)


def table(rows: list[dict[str, Any]], unit: str) -> str:
    """A Markdown row a size."""
    lines = [
        f"| {unit} | assets | seconds | first after | an hour | from the first | efficiency |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        whole = rate(row)
        share = whole / rate(rows[0]) * rows[0]["size"] / row["size"] if rate(rows[0]) else 0.0
        made, ends = len(row["ends"]), row["ends"]
        later = 3600.0 * (made - 1) / (ends[-1] - ends[0]) if made > 2 else float("nan")
        cells = [row["size"], f"{made} of {row['asked']}", f"{row['seconds']:.0f}"]
        cells += [f"{ends[0]:.0f}" if ends else "-", f"{whole:.0f}", f"{later:.0f}", f"{share:.2f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def rate(row: dict[str, Any]) -> float:
    """Assets an hour, from the start of the program to its end."""
    return 3600.0 * len(row["ends"]) / row["seconds"]


if __name__ == "__main__":
    main()
