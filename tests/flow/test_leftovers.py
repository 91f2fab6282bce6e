"""What a killed run was writing is removed by the next one, and nothing else is."""

import multiprocessing
import os
from pathlib import Path

import pytest

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from tasks.asset_folder import lock_asset

WRITTEN = (
    "run.json",
    "report.html",
    "mesh.glb",
    "turntable.mp4",
    "preview.png",
    "gaussians.ply",
    "stage1/gaussians.safetensors",
    "stage2/gaussians.safetensors",
    "stage2/work/0123456789abcdef/state-00000012.safetensors",
    ".steps.json",
    "debug/stage1/step-000050.png",
    "debug/stage2/level-0.300.json",
)
FOREIGN = (
    ".hidden",
    ".my-settings.json",
    ".mesh.glb",
    ".mesh-x7.glb",
    ".mesh-0123abcd.txt",
    ".mesh-0123ABCD.glb",
    "mesh-0123abcd.glb",
    "notes/.mesh-0123abcd.glb",
    "debug/.stage1-0123abcd.mp4",  # `stabledreamer debug` writes it without the lock
)


def _die_while_writing(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("torn")
        os._exit(1)


def test_every_file_that_a_killed_run_was_writing_is_removed(tmp_path):
    out = tmp_path / "asset"
    with lock_asset(out, "a red bear", 0):
        pass
    before = {path for path in out.rglob("*") if path.is_file()}
    context = multiprocessing.get_context("fork")
    for name in WRITTEN:
        process = context.Process(target=_die_while_writing, args=(out / name,))
        process.start()
        process.join()
    left = {path for path in out.rglob("*") if path.is_file()} - before
    assert len(left) == len(WRITTEN)
    with lock_asset(out, "a red bear", 0):
        assert {path for path in out.rglob("*") if path.is_file()} == before


def test_whole_files_and_foreign_ones_stay(tmp_path):
    out = tmp_path / "asset"
    with lock_asset(out, "a red bear", 0):
        pass
    for name in (*WRITTEN, *FOREIGN):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    with lock_asset(out, "a red bear", 0):
        assert {name for name in (*WRITTEN, *FOREIGN) if not (out / name).exists()} == set()


def test_without_the_lock_nothing_is_removed(tmp_path):
    """What another run is writing at this moment looks just like it."""
    out = tmp_path / "asset"
    with lock_asset(out, "a red bear", 0):
        with atomic_write(out / "mesh.glb") as temporary:
            temporary.write_text("whole")
            with pytest.raises(UserError, match="another run is working"):
                with lock_asset(out, "a red bear", 0):
                    pass
            assert temporary.exists()
    assert (out / "mesh.glb").read_text() == "whole"


def test_a_run_removes_them(make, tmp_path):
    out = tmp_path / "asset"
    make(out)
    (out / "run.json").unlink()
    (out / ".turntable-0123abcd.mp4").write_text("torn")
    make(out)
    assert not (out / ".turntable-0123abcd.mp4").exists()
