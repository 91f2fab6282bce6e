"""Kill a dream at random moments: does the same command end with the same result?

python -m benchmarks.robustness.kills --kills 20 --seed 0 --quick

`stabledreamer dream` runs once undisturbed, then in new folders, in each of which it is killed one
to three times before it may end. Exit code 1 if anything differs; --out keeps all that was made.

A moment is a step and a share of the time that the step took undisturbed. Three of five lie in the
stages, where the time goes; the others in other steps, which are so short that moments drawn from
the whole run would miss them. What is done stands in the folder itself, so that nothing is kept
but what its own runs made; Prefect's database is one for all and bears the marks of all kills.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations, cycle, islice, pairwise
from pathlib import Path
from typing import Any

import psutil

from stabledreamer_core.tensor_files import load_tensors
from tasks.keys import STEPS

STAGES = ("stage1", "stage2")
ORDER = ("start", *STEPS, "report", "end")
OTHERS = ("mesh", "evaluate", "turntable", "report", "start", "gaussians", "preview")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
IN_A_ROW = (3, 2, 1)  # kills in one folder, in turn
DYING_S = 60.0
LIMIT_S = 3600.0  # of one process
LINE = re.compile(r"^  (\w+) +(kept|\d+\.\d s)\b", re.MULTILINE)  # flows/dream.py tells each step

# All that two undisturbed runs do not have in common either: what a stage cost. `losses` are those
# of the steps that the stage's last process took, so they tell where it went on.
COST = ("seconds", "iterations_per_second", "peak_memory_bytes", "losses")
# The page shows that cost, and how large run.json is; and run.json has the page's hash.
COST_ON_PAGE = re.compile(r"<section><h3>Stage .*?</section>|run\.json</a> [\d.]+ MB", re.DOTALL)


@dataclass(frozen=True)
class Moment:
    """When to send which signal to whom."""

    step: str
    share: float  # of the time that the step takes
    how: signal.Signals
    group: bool  # as Ctrl-C in a terminal does; else to the process alone


@dataclass
class Trial:
    """A command to kill, and what is known of it."""

    command: list[str]
    folder: Path
    expected: dict[str, Any] = field(default_factory=dict)  # `fingerprint` when undisturbed
    record: dict[str, Any] = field(default_factory=dict)  # run.json when undisturbed
    durations: dict[str, float] = field(default_factory=dict)  # seconds by step when undisturbed
    hits: Counter[str] = field(default_factory=Counter)  # kills by step
    wrong: list[str] = field(default_factory=list)  # a line each


class Dream(AbstractContextManager["Dream"]):
    """One process of the command, in a group of its own, with what it prints in a file."""

    def __init__(self, trial: Trial, name: str, run: int) -> None:
        self.out = trial.folder / name / "asset"
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.log = self.out.with_name(f"run-{run}.log")
        environment = {"OMP_NUM_THREADS": "1", **os.environ}  # the bits depend on their number
        environment["PREFECT_HOME"] = str(trial.folder / "prefect")
        self.process = subprocess.Popen(
            [*trial.command, "--out", str(self.out)],
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def text(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def at(self) -> int:
        """The place in `ORDER` of the step that it is at, by what it printed."""
        text = self.text()
        if re.search("^(finished in|already finished)", text, re.MULTILINE):
            return len(ORDER) - 1
        if told := LINE.findall(text):
            return ORDER.index(told[-1][0]) + 1
        return int("stage 1:" in text)

    def wait(self, happened: Callable[[], bool] = lambda: False) -> bool:
        """Until something happened; False if the process ended before, or its time is up."""
        while self.process.poll() is None and time.monotonic() - self.began < LIMIT_S:
            if happened():
                return True
            time.sleep(0.005)
        return False


def fingerprint(out: Path) -> dict[str, Any]:
    """What must be equal of an asset folder: each file's hash, and each value in run.json."""
    found: dict[str, Any] = {}
    for path in (path for path in out.rglob("*") if not path.is_dir()):
        name, content = path.relative_to(out).as_posix(), path.read_bytes()
        if name == "report.html":
            content = COST_ON_PAGE.sub("", content.decode()).encode()
        if name != "run.json":
            found[name] = sha256(content).hexdigest()
            continue
        record = json.loads(content)
        record["files"].pop("report.html")
        for facts in record["stages"].values():
            for cost in COST:
                del facts[cost]
        found |= {f"run.json, {key}": value for key, value in record.items()}
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is missing, left over, or other than expected; of `fingerprint`."""
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    wrong += [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    same = {name for name, value in expected.items() if found.get(name, value) == value}
    return wrong + [f"{name} differs" for name in sorted(expected.keys() - same)]


def resume_state(out: Path, stage: str) -> tuple[int, float]:
    """Of a stage's newest resume state: the step, and the seconds spent by then. Else zeros."""
    states = [load_tensors(path)[1] for path in out.glob(f"{stage}/work/*/state-*.safetensors")]
    return max(((int(s["step"]), float(s["seconds"])) for s in states), default=(0, 0.0))


def repeated(
    texts: list[str],
    states: list[dict[str, tuple[int, float]]],
    record: dict[str, Any],
    undisturbed: dict[str, Any],
) -> list[str]:
    """Which finished work was done again in a folder.

    Args:
        texts, states: of each run in it, what it printed and each stage's `resume_state` before.
        record, undisturbed: what run.json holds in the end, and where nobody killed. The losses
            in it are those of a stage's last process: of the whole stage only if that began anew.
    """
    runs = [dict(LINE.findall(text)) for text in texts]
    pairs = [(step, later) for before, later in combinations(runs, 2) for step in before]
    again = [f"{step} was made again" for step, run in pairs if run.get(step, "kept") != "kept"]
    for stage in STAGES:
        # The first run that tells of a stage made it, or found it made by the one before.
        first = next(index for index, run in enumerate(runs) if stage in run)
        step, spent = states[first - 1 if runs[first][stage] == "kept" else first][stage]
        facts = record["stages"][stage]
        steps = facts["iterations_per_second"] * (facts["seconds"] - spent)
        if steps > facts["iterations"] - step + 0.5:
            again.append(f"{stage} took {steps:.1f} steps after step {step} had been kept")
        elif step and facts["losses"] == undisturbed["stages"][stage]["losses"]:
            again.append(f"{stage} began anew after step {step} had been kept")
    return again


def undisturbed(trial: Trial) -> None:
    """Learn what an undisturbed run makes, and how long it takes over each step."""
    begins = {}
    with Dream(trial, "undisturbed", 0) as dream:
        for index, step in enumerate(ORDER):
            dream.wait(lambda index=index: dream.at() >= index)
            begins[step] = time.monotonic() - dream.began
        dream.wait()
    if dream.process.returncode != 0:
        raise SystemExit(f"the undisturbed run failed, see {dream.log}:\n{dream.text()[-2000:]}")
    trial.expected = fingerprint(dream.out)
    trial.record = json.loads((dream.out / "run.json").read_text())
    trial.durations = {step: begins[after] - begins[step] for step, after in pairwise(ORDER)}
    times = ", ".join(f"{step} {took:.1f}" for step, took in trial.durations.items())
    print(f"undisturbed: {begins['end']:.1f} s: {times}", flush=True)


def draw_moments(kills: int, seed: int) -> list[list[Moment]]:
    """The moments for each folder, in the order in which they come."""
    chance = random.Random(seed)
    others = kills * 2 // 5
    steps = [*islice(cycle(STAGES), kills - others), *islice(cycle(OTHERS), others)]
    signals = chance.sample([*islice(cycle(SIGNALS), kills)], kills)
    chance.shuffle(steps)
    moments = [
        Moment(step, chance.random(), how, chance.random() < 0.5)
        for step, how in zip(steps, signals, strict=True)
    ]
    folders: list[list[Moment]] = []
    while moments:
        size = IN_A_ROW[len(folders) % len(IN_A_ROW)]
        folders.append(sorted(moments[:size], key=lambda m: (ORDER.index(m.step), m.share)))
        moments = moments[size:]
    return folders


def kill(trial: Trial, dream: Dream, moment: Moment, delay_s: float) -> str | None:
    """Send the signal at its moment; the step that it hit, or None if the process had ended."""
    dream.wait(lambda: dream.at() >= ORDER.index(moment.step))
    due = time.monotonic() + delay_s
    if not dream.wait(lambda: time.monotonic() >= due):
        return None
    family = psutil.Process(dream.process.pid).children(recursive=True)
    hit = ORDER[dream.at()]
    (os.killpg if moment.group else os.kill)(dream.process.pid, moment.how)
    with suppress(subprocess.TimeoutExpired):
        dream.process.wait(DYING_S)
    code, text = dream.process.poll(), dream.text()
    told = code == 130 and "go on with: " in text and "Traceback" not in text
    # Before the program is there to catch it, and after, a signal ends Python itself.
    fair = code == -moment.how and (moment.how == signal.SIGKILL or hit in ("start", "end"))
    if not (told or fair or (code == 0 and hit in ORDER[-2:])):
        trial.wrong.append(f"exit code {code} after {moment.how.name} in {hit}: {dream.log}")
    for child in psutil.wait_procs(family, timeout=10.0)[1]:
        if child.status() != psutil.STATUS_ZOMBIE:  # one that nobody reaped has ended
            trial.wrong.append(f"{child} outlived {moment.how.name} in {hit}")
    if (dream.out / "run.json").exists() and ORDER[dream.at()] not in ORDER[-2:]:
        trial.wrong.append(f"run.json was there in {hit}: {dream.log}")
    trial.hits[hit] += 1
    print(f"{trial.hits.total():4d} {moment.how.name} in {hit}: exit code {code}", flush=True)
    return hit


def in_one_folder(trial: Trial, name: str, moments: list[Moment]) -> list[Moment]:
    """Kill at each moment, let the command end, compare; the moments that came too late."""
    out, texts, states = trial.folder / name / "asset", [], []
    spent = dict.fromkeys(ORDER, 0.0)  # how far earlier kills let a stage come
    for number, moment in enumerate([*moments, None]):
        states.append({stage: resume_state(out, stage) for stage in STAGES})
        with Dream(trial, name, number) as dream:
            if moment is None:
                dream.wait()
            else:
                delay_s = max(0.0, moment.share * trial.durations[moment.step] - spent[moment.step])
                hit = kill(trial, dream, moment, delay_s)
        texts.append(dream.text())
        if moment and hit != moment.step:
            trial.durations[moment.step] /= 2  # the machine is less busy by now
        if moment is None or hit is None:
            break
        spent[moment.step] += delay_s if moment.step in STAGES else 0.0
    if dream.process.returncode != 0:
        trial.wrong.append(f"exit code {dream.process.returncode} at last: {dream.log}")
    else:
        record = json.loads((out / "run.json").read_text())
        trial.wrong += repeated(texts, states, record, trial.record)
        trial.wrong += differences(trial.expected, fingerprint(out))
    return moments[number:]


def run(trial: Trial, kills: int, seed: int) -> int:
    """Kill so often and tell what came of it; the exit code."""
    undisturbed(trial)
    folders = draw_moments(kills, seed)
    for number, moments in enumerate(folders):
        before = len(trial.wrong)
        late = in_one_folder(trial, f"killed-{number}", moments)
        folders += [late] if late and len(folders) < 3 * kills else []
        print(f"killed-{number}: {'; '.join(trial.wrong[before:]) or 'the same'}", flush=True)
    trial.wrong += ["too few kills"] if trial.hits.total() < kills else []
    print("hit: " + ", ".join(f"{step} {count}" for step, count in trial.hits.most_common()))
    print(f"{trial.hits.total()} kills, {len(trial.wrong)} differences")
    return 1 if trial.wrong else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--prompt", default="a red bear wearing a top hat")
    parser.add_argument("--out", type=Path, help="a new folder, to keep all that was made")
    args, others = parser.parse_known_args(arguments)  # others are the command's: --params, --set
    program = str(Path(sys.executable).with_name("stabledreamer"))
    command = [program, "dream", args.prompt, *others, "--set", "device=cpu"]
    for how in SIGNALS[:2]:  # a shell's background jobs ignore Ctrl-C, and so would their children
        signal.signal(how, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        folder = (args.out or Path(scratch) / "new").absolute()
        folder.mkdir(parents=True)
        return run(Trial(command, folder), args.kills, args.seed)


if __name__ == "__main__":
    sys.exit(main())
