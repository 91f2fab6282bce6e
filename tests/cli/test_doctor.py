"""The doctor says what is well, what is not, and what to do."""

import importlib.util
import json
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from stabledreamer.cli import doctor
from stabledreamer.cli import doctor_machine as machine
from stabledreamer.cli import doctor_project as project
from stabledreamer.cli.doctor_problem import Problem
from stabledreamer.runtime import serving
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import with_overrides


def some_checks() -> dict:
    def missing() -> str:
        raise UserError("the prior is missing;\nrestore it")

    def wrong() -> str:
        raise Problem("it is wrong", "put it right")

    def broken() -> str:
        raise ImportError("no module")

    return {"first": lambda: "fine", "second": missing, "third": wrong, "fourth": broken}


def test_problems_are_told_with_remedies_and_the_rest_still_checked(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", some_checks() | {"last": lambda: "fine"})
    assert doctor.doctor() == 1
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith(("ok", "PROBLEM"))]
    assert [line.split()[0] for line in told] == ["ok", "PROBLEM", "PROBLEM", "PROBLEM", "ok"]
    remedies = [line.split("-> ")[1] for line in lines if "-> " in line]
    assert remedies == ["restore it", "put it right", doctor.REINSTALL]


def test_json(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", some_checks())
    assert doctor.doctor(as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert [one["ok"] for one in found["checks"]] == [True, False, False, False]
    assert found["checks"][2]["remedy"] == "put it right"


def test_what_needs_no_priors_is_well_here(monkeypatch, capsys):
    left_out = ("priors", "judge", "memory", "server")  # which others may be using just now
    checks = {name: check for name, check in doctor.CHECKS.items() if name not in left_out}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.doctor(as_json=True) == 0, capsys.readouterr().out
    assert json.loads(capsys.readouterr().out)["ok"] is True


def bad_python(patch):
    patch.setattr(machine.sys, "version_info", (3, 9, 1))
    return machine.python


def useless_gpu(patch):
    patch.setattr("torch.cuda.is_available", lambda: False)
    patch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    return machine.torch_and_gpu


def too_many_threads(patch):
    patch.setattr("torch.get_num_threads", lambda: 64)
    patch.setattr(machine, "processors", lambda: 2)
    return machine.threads


def no_memory(patch):
    patch.setattr(machine, "free_memory", lambda: 2**28)
    return machine.memory


def full_disk(patch):
    patch.setattr("tasks.checks.shutil.disk_usage", lambda place: Namespace(free=2**20))
    return machine.disk


def no_numba_cache(patch):
    patch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    patch.setattr(machine.os, "access", lambda *_: False)
    return machine.numba_cache


def no_gsplat(patch):
    def fails(device):
        raise RuntimeError("Ninja is required")

    patch.setattr("torch.cuda.is_available", lambda: True)
    patch.setattr(machine, "rasteriser", fails)
    patch.setattr(machine.shutil, "which", lambda name: None)
    patch.delenv("CUDA_HOME", raising=False)
    return machine.gsplat_on_gpu


def no_loopback(patch):
    class Refusing(machine.socket.socket):
        def bind(self, address):
            raise PermissionError("not allowed")

    patch.setattr(machine.socket, "socket", Refusing)
    return machine.loopback


def asks(patch, *overrides):
    config = with_overrides(load_config(), list(overrides))
    patch.setattr(project, "load_config", lambda: config)


def no_prior(patch):
    asks(patch, "stage1.prior=/gone/prior")
    return project.priors


def no_judge(patch):
    asks(patch, "evaluate.judge=/gone/judge")
    return project.judge


def no_openvino(patch):
    def version(name):
        raise project.PackageNotFoundError(name)

    asks(patch, "stage1.engine=openvino")
    patch.setattr(project, "version", version)
    return project.openvino


def no_ffmpeg(patch):
    patch.setenv("IMAGEIO_FFMPEG_EXE", "/gone/ffmpeg")
    return project.video


def old_prefect(patch):
    patch.setattr(project, "version", lambda name: "2.20.1")
    return project.prefect


def silent_server(patch):
    patch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    return project.prefect


def half_up(patch):
    urls = "http://127.0.0.1:4200", "http://127.0.0.1:4201"
    served = serving.Served(*urls, frozenset({"server", "run"}))
    patch.setattr(serving, "look", lambda: served)
    return project.server


def taken_port(patch):
    patch.setattr(serving, "look", lambda: None)
    patch.setattr(serving, "port_is_free", lambda port: False)
    return project.server


@pytest.mark.parametrize(
    ("bad", "says", "remedy"),
    [
        (bad_python, "3.11 to 3.14", "make venv PYTHON="),
        (useless_gpu, "NVIDIA", "install the wheel"),
        (too_many_threads, "64 threads", "OMP_NUM_THREADS=2"),
        (no_memory, "0.2 GB", "end other programs"),
        (full_disk, "1 MB free", "free some"),
        (no_numba_cache, "/proc/nowhere", "export NUMBA_CACHE_DIR"),
        (no_gsplat, "Ninja", "toolkit (nvcc)"),
        (no_loopback, "not allowed", "loopback"),
        (no_prior, "/gone/prior", "git checkout"),
        (no_judge, "/gone/judge", "git checkout"),
        (no_openvino, "stage1", "[openvino]"),
        (no_ffmpeg, "ffmpeg", "imageio-ffmpeg"),
        (old_prefect, "2.20.1", "constraints.txt"),
        (silent_server, "nothing answers", "unset PREFECT_API_URL"),
        (half_up, "worker ended", "stabledreamer serve"),
        (taken_port, "4200", "--port"),
    ],
)
def test_each_bad_state_is_told_with_its_remedy(bad, says, remedy, monkeypatch):
    finding = doctor.examine("check", bad(monkeypatch))
    assert not finding.ok
    assert says in finding.says and remedy in (finding.remedy or "")
    assert "\n" not in finding.says + (finding.remedy or "")


def test_a_prior_whose_bytes_changed(monkeypatch, tiny_if, tmp_path):
    import shutil

    from stabledreamer_core.priors.identity import write_manifest

    there = tmp_path / "prior"
    shutil.copytree(tiny_if, there)
    write_manifest(there)
    (there / "unet" / "config.json").write_text(
        (there / "unet" / "config.json").read_text().replace("\n", "\n ", 1)
    )
    asks(monkeypatch, f"stage1.prior={there}")
    finding = doctor.examine("priors", project.priors)
    assert not finding.ok and "differs" in finding.says and "git checkout" in str(finding.remedy)


def test_memory_of_a_container(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.free_memory() == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() > 600


def test_dvc(monkeypatch, tmp_path: Path):
    assert project.dvc(tmp_path) == "not used here"
    (tmp_path / ".dvc").mkdir()
    find = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "dvc" else find(name)
        )
        assert doctor.examine("dvc", lambda: project.dvc(tmp_path)).remedy == "pip install dvc"
    absent = {"changed outs": {"a": "not in cache"}}
    elsewhere = [{"changed deps": {"a": "deleted"}, **absent}]
    edited = {"changed deps": {"core": "modified", "a": "deleted"}}
    small, gpu = "small benchmark (make bench) ", "GPU benchmark (docs/benchmark.md) "
    lock = "benchmarks/gpu/dvc.yaml:measure@default"
    other = "of other code or settings"
    answers = {
        (0, "{}"): f"{small}up to date; {gpu}up to date",
        (0, json.dumps({"stage2@a": elsewhere, lock: [edited]})): (
            f"{small}of this code and these settings, not made on this machine; {gpu}{other}"
        ),
        (0, json.dumps({"stage2@a": ["changed command"]})): f"{small}{other}",
        (0, json.dumps({"stage2@a": [absent, edited]})): f"{small}{other}",
        (0, json.dumps({"a": [{"changed deps": {"p.yaml": {"seed": "modified"}}}]})): (
            f"{small}{other}"
        ),
        (255, ""): None,
    }
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(project, "version", lambda name: "3.0")
    for (code, out), word in answers.items():
        answer_dvc(monkeypatch, code, out)
        finding = doctor.examine("dvc", lambda: project.dvc(tmp_path))
        assert finding.ok is (word is not None)
        assert (word or "not inside") in finding.says


def answer_dvc(monkeypatch, code: int, out: str) -> None:
    """Answer for dvc alone; git answers for itself."""
    run = subprocess.run

    def answer(words, **options):
        if "dvc" not in words:
            return run(words, **options)
        return subprocess.CompletedProcess([], code, out, "ERROR: you are not inside of a DVC repo")

    monkeypatch.setattr(project.subprocess, "run", answer)


def test_published_results_are_laid_at_the_users_door_only_for_the_users_own_changes(
    monkeypatch, tmp_path: Path
):
    """An untouched clone is told which commit they are of, a changed one what was changed."""

    def git(*words: str) -> str:
        own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *own, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def told() -> str:
        said = project.dvc(tmp_path)
        assert said.endswith("; dvc repro makes them anew")
        return said.partition("; GPU")[0]

    for name in (".dvc/config", "dvc.lock", "core/loss.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "published")
    commit = git("log", "-1", "--format=%h")
    (tmp_path / "core" / "loss.py").write_text("newer\n")
    git("commit", "-qam", "newer code")
    stale = {"stage1@a": [{"changed deps": {"core": "modified", "params.yaml": {"a": "modified"}}}]}
    answer_dvc(monkeypatch, 0, json.dumps(stale))

    assert told().endswith(f"of commit {commit}")  # nothing of the user's
    (tmp_path / "README.md").write_text("mine\n")  # on which no stage depends
    (tmp_path / "core-notes.txt").write_text("mine\n")
    assert told().endswith(f"of commit {commit}")
    (tmp_path / "core" / "mine.py").write_text("mine\n")
    assert f"of commit {commit}, without your changes to core/mine.py" in told()
    (tmp_path / "core" / "loss.py").write_text("mine\n")
    assert "without your changes to core/loss.py and 1 more" in told()
