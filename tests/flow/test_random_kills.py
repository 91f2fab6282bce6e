"""Killed at random moments, a dream ends as if nobody had; and who says so would notice if not."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.robustness import kills
from benchmarks.robustness.kills import Trial, differences, draw_moments, fingerprint, repeated

PROMPT = "a red bear"
LONGER = ["--set", "stage1.iterations=60", "--set", "stage2.iterations=60"]

# A dream of twelve short steps, with one of several faults.
FAKE = """
import json, signal, sys, time
from pathlib import Path
from tasks.keys import STEPS

fault, out = sys.argv[1], Path(sys.argv[-1])
out.mkdir(exist_ok=True)

def interrupted(*_):
    if fault == "grumbles":
        raise SystemExit(1)
    print("go on with: the same", flush=True)
    raise SystemExit(130)

if fault != "deaf":
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
else:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stage 1:", flush=True)
runs = out.with_name("runs")
runs.open("a").write(".")
for step in STEPS:
    done = out.with_name(step)
    if done.exists() and fault != "forgets":
        print(f"  {step:12s} kept", flush=True)
        continue
    junk = out / ".mesh-x7.glb"
    if fault == "litters" and step == "mesh" and not junk.exists() and len(runs.read_text()) > 1:
        junk.touch()
    time.sleep(0.2)
    (out / step).write_text(runs.read_text() if fault == "drifts" else "")
    done.touch()
    print(f"  {step:12s} 0.2 s", flush=True)
facts = {"iterations": 4, "iterations_per_second": 2.0, "seconds": 2.0}
stage = facts | {"peak_memory_bytes": len(runs.read_text()), "losses": []}
record = {"files": {"report.html": ""}, "stages": {"stage1": stage, "stage2": stage}}
(out / "run.json").write_text(json.dumps(record))
print("finished in 0 min", flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_three_random_moments_it_ends_with_the_same_files(params, capsys):
    assert kills.main(["--kills", "3", "--prompt", PROMPT, "--params", str(params), *LONGER]) == 0
    assert "3 kills, 0 differences" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_twenty_random_moments_it_ends_with_the_same_files(params, capsys):
    with capsys.disabled():
        assert kills.main(["--prompt", PROMPT, "--params", str(params), *LONGER]) == 0


@pytest.mark.slow  # real processes and real time: a busy machine can make a kill come too late
@pytest.mark.parametrize(
    ("fault", "noticed"),
    [
        ("none", "6 kills, 0 differences"),
        ("grumbles", "exit code 1 after SIG"),
        ("deaf", "exit code None after SIG"),
        ("litters", ".mesh-x7.glb is left over"),
        ("forgets", "stage1 was made again"),
        ("drifts", "stage2 differs"),
    ],
)
def test_what_goes_wrong_is_noticed(fault, noticed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kills, "DYING_S", 0.5)
    monkeypatch.setenv("PYTHONPATH", str(Path(kills.__file__).parents[2]))
    program = tmp_path / "fake.py"
    program.write_text(FAKE)
    trial = Trial([sys.executable, str(program), fault], tmp_path / "kills")
    assert kills.run(trial, 6, seed=0) == (fault != "none")
    assert noticed in capsys.readouterr().out


def test_the_comparison_notices_a_changed_byte(tmp_path):
    stage = {"seconds": 1.0, "iterations_per_second": 2.0, "peak_memory_bytes": 3, "losses": [4.0]}
    record = {
        "files": {"report.html": "a", "mesh.glb": "b"},
        "stages": {"stage1": stage | {"gaussians": 5}},
        "metrics": {"chamfer": 0.1},
    }
    page = "<section><h3>Stage 1</h3>1 s</section> <b>bear</b> run.json</a> 0.1 MB"
    (tmp_path / "stage1").mkdir()
    (tmp_path / "stage1" / "gaussians.safetensors").write_bytes(b"0123")
    (tmp_path / "mesh.glb").write_bytes(b"4567")
    (tmp_path / "report.html").write_text(page)
    (tmp_path / "run.json").write_text(json.dumps(record))
    expected = fingerprint(tmp_path)

    # 1. What a run costs may differ.
    stage["seconds"] = 7.0
    record["stages"]["stage1"] |= {"seconds": 7.0, "losses": []}
    record["files"]["report.html"] = "c"
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "report.html").write_text(page.replace("1 s", "7 s").replace("0.1", "0.2"))
    assert differences(expected, fingerprint(tmp_path)) == []

    # 2. Nothing else may.
    (tmp_path / "stage1" / "gaussians.safetensors").write_bytes(b"0122")
    (tmp_path / "report.html").write_text(page.replace("bear", "beat"))
    (tmp_path / "mesh.glb").rename(tmp_path / ".mesh-x7.glb")
    record["metrics"]["chamfer"] = 0.2
    record["stages"]["stage1"]["gaussians"] = 6
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert differences(expected, fingerprint(tmp_path)) == [
        "mesh.glb is missing",
        ".mesh-x7.glb is left over",
        "report.html differs",
        "run.json, metrics differs",
        "run.json, stages differs",
        "stage1/gaussians.safetensors differs",
    ]


def test_repeated_steps_of_a_stage_are_noticed():
    def record(seconds: float, losses: list[float]) -> dict:
        facts = {"iterations": 30, "iterations_per_second": 10.0, "seconds": seconds}
        facts["losses"] = losses
        return {"stages": {"stage1": facts, "stage2": facts}}

    texts = ["stage 1:", "  stage1       2.0 s\n", "  stage1       kept\n  stage2       3.0 s\n"]
    none = (0, 0.0)
    states = [
        {"stage1": none, "stage2": none},
        {"stage1": (10, 1.0), "stage2": none},
        {"stage1": (29, 2.9), "stage2": none},
    ]
    whole = record(3.0, [0.3, 0.2, 0.1])
    assert repeated(texts, states, record(3.0, [0.2, 0.1]), whole) == []
    assert repeated(texts, states, record(3.2, [0.2, 0.1]), whole) == [
        "stage1 took 22.0 steps after step 10 had been kept",
        "stage2 took 32.0 steps after step 0 had been kept",
    ]
    # At an even speed only the losses tell; stage 2 had nothing to go on from.
    assert repeated(texts, states, record(3.0, [0.3, 0.2, 0.1]), whole) == [
        "stage1 began anew after step 10 had been kept"
    ]


def test_the_moments_are_the_same_every_time_and_lie_in_all_parts_of_a_run():
    folders = draw_moments(20, 0)
    assert folders == draw_moments(20, 0) and folders != draw_moments(20, 1)
    steps = [moment.step for moments in folders for moment in moments]
    assert len(steps) == 20
    assert sum(step in kills.STAGES for step in steps) == 12
    assert {"mesh", "turntable", "evaluate", "report"} <= set(steps)
    assert {moment.how for moments in folders for moment in moments} == set(kills.SIGNALS)
    assert max(len(moments) for moments in folders) == 3
