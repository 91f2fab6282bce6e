"""The DVC pipelines and their params files fit each other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.claims.methods_table import NAMES
from stabledreamer.runtime.root import ROOT
from tasks.dvc_deps import PACKAGES, ROOTS, code_deps, is_code

SMALL = yaml.safe_load((ROOT / "benchmarks/claims/small.yaml").read_text())
GPU = yaml.safe_load((ROOT / "benchmarks/claims/gpu.yaml").read_text())
EXPERIMENTS = "benchmarks/experiments/dvc.yaml"
GPU_STAGES = yaml.safe_load((ROOT / "benchmarks/gpu/dvc.yaml").read_text())["stages"]


def stages(pipeline: str) -> list[str]:
    """Their names, as DVC itself resolves them."""
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only", pipeline]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name.rpartition(":")[2] for name in told.stdout.split()]


def test_small_pipeline():
    assets = [f"{p}-{r}" for p in SMALL["matrix"]["prompts"] for r in SMALL["matrix"]["recipes"]]
    steps = [f"{step}@{asset}" for step in ("stage1", "stage2", "evaluate") for asset in assets]
    found = stages("dvc.yaml")
    assert set(found) == {*steps, "summary"}
    assert len(found) <= 65  # nearly a second each, whatever they do


def test_gpu_pipeline():
    found = stages("benchmarks/gpu/dvc.yaml")
    made = {f"make@{name}" for name in GPU["ablations"]}
    made |= {f"make_peer@{name}" for name in GPU["peers"]}
    measured = {f"measure@{name}" for name in GPU["recipes"]}
    assert set(found) == {*made, *measured, "make_nerf", "measure_nerf", "summary"}


def test_experiments_pipeline():
    """A target for each file of rows that it publishes, made from all that its YAML file names."""
    faces = {"faces-strong", "faces-schedules", "faces-cures", "faces-perp-neg"}
    methods = {*NAMES, "toybox-suite", "peers"}
    late = {name for name in methods if name.endswith("-stage2")}
    made = {f"make@{name}" for name in (faces | methods) - late}
    made |= {f"make_stage2@{name}" for name in late}
    judged = {f"faces@{name}" for name in faces} | {f"methods@{name}" for name in methods}
    others = {"strong_prior", "methods_page", "methods@perp-neg-meshes"}
    assert set(stages(EXPERIMENTS)) == made | judged | others
    steps = yaml.safe_load((ROOT / EXPERIMENTS).read_text())["stages"]
    for name, item in (steps["make"]["foreach"] | steps["make_stage2"]["foreach"]).items():
        search = yaml.safe_load((ROOT / item["file"]).read_text())
        assert item["file"].replace("_", "-").endswith(f"/{name}.yaml")
        assert search["prompts"] == item["prompts"]  # whose change makes the assets again
        strong = any("priors-strong" in setting for setting in search.get("base", []))
        assert ("strong" in item.get("prior", "")) == strong == (name in faces)


def test_a_stale_lock_file_still_loads():
    """That of the GPU benchmark is of stages with other names."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "benchmarks/gpu/dvc.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "measure@default" in done.stdout, done.stderr


def test_the_matrix_names_what_there_is():
    assert set(SMALL["matrix"]["prompts"]) == set(SMALL["prompts"])
    assert set(SMALL["matrix"]["recipes"]) == set(SMALL["recipes"])
    assert GPU["recipes"] == GPU["ablations"] | GPU["peers"]


@pytest.mark.parametrize(
    "file", ["faces-strong", "faces-schedules", "faces-cures", "faces-perp-neg"]
)
def test_the_experiments_claims_name_recipes(file):
    settings = yaml.safe_load((ROOT / f"benchmarks/claims/{file}.yaml").read_text())
    for claim in settings["claims"]:
        assert {claim["ours"], claim["other"]} <= set(settings["recipes"]), claim


@pytest.mark.parametrize("settings", [SMALL, GPU], ids=["small", "gpu"])
def test_claims_name_variants(settings):
    variants = {*settings["recipes"], "nerf"} | {f"{name}-stage1" for name in settings["recipes"]}
    for claim in settings["claims"]:
        assert {claim["ours"], claim["other"]} <= variants, claim
    compared = {claim[side] for claim in settings["claims"] for side in ("ours", "other")}
    assert set(settings["recipes"]) <= compared


def test_the_nerf_has_the_same_prompts_and_seeds():
    suite = yaml.safe_load((ROOT / "prompts/toybox.yaml").read_text())["prompts"]
    assert GPU["prompts"] == suite[: len(GPU["prompts"])]
    assert list(SMALL["prompts"].values()) == GPU["prompts"][::3]
    seeds = " ".join(map(str, GPU["seeds"]))
    assert f"--count {len(GPU['prompts'])} --seeds {seeds} " in GPU_STAGES["make_nerf"]["cmd"]


CODE = [(pipeline, stage) for pipeline, stages in ROOTS.items() for stage in stages]


def test_every_stage_is_looked_up():
    for pipeline, stages in ROOTS.items():
        assert list(yaml.safe_load((ROOT / pipeline).read_text())["stages"]) == list(stages)


@pytest.mark.parametrize(("pipeline", "stage"), CODE)
def test_deps_are_the_code_that_the_stage_reaches(pipeline, stage):
    """Where this fails, `python -m tasks.dvc_deps` puts it right."""
    described = yaml.safe_load((ROOT / pipeline).read_text())["stages"][stage]
    deps = described.get("do", described)["deps"]
    assert [dep for dep in deps if is_code(dep)] == code_deps(pipeline, stage)
    assert all((ROOT / dep).exists() for dep in deps if "$" not in dep)


def test_the_stages_rest_on_no_mesh_and_no_metric():
    for stage in ("stage1", "stage2"):
        deps = code_deps("dvc.yaml", stage)
        assert "stabledreamer_core/optimization" in deps
        above = {"stabledreamer_core", "stabledreamer_core/assets", "toybox"}
        assert not above & set(deps)
        assert not [dep for dep in deps if "assets" in dep or "metrics" in dep or "toybox" in dep]
    deps = code_deps("dvc.yaml", "evaluate")
    assert "stabledreamer_core/assets/mesh/glb.py" in deps
    assert "stabledreamer_core/assets/turntable.py" in deps
    assert "stabledreamer_core/assets/formats.py" not in deps
    assert "stabledreamer_core/optimization/loop.py" not in deps
    assert "toybox/heldout.yaml" in deps


MAKING = {"make", "make_peer", "make_nerf"}
MEASURING = {"measure", "measure_nerf"}


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("stabledreamer_core/assets/mesh/extract.py", {"measure"}),
        ("stabledreamer_core/assets/mesh/glb.py", MEASURING),
        ("benchmarks/search/scores.py", {"measure"}),
        ("benchmarks/claims/suite_table.py", {"measure"}),
        ("toybox/judge.py", MEASURING),
        ("toybox/metrics/detail.py", MEASURING),
        ("priors/toybox-judge/model.safetensors", MEASURING),
        ("priors/toybox-if/unet/config.json", MAKING),
        ("stabledreamer_core/scene/density.py", {*MAKING, "measure_nerf"}),
        ("benchmarks/search/make_assets.py", {"make", "make_peer"}),
        ("benchmarks/claims/nerf_baseline.py", {"make_nerf", "measure_nerf"}),
        ("tasks/report/page.py", set()),
    ],
)
def test_an_edit_makes_no_asset_again_that_it_does_not_change(file: str, stages: set[str]):
    """A thousand assets stay when what is measured on them changes."""
    assert (ROOT / file).is_file()
    path, reached = Path(file), set()
    for stage, described in GPU_STAGES.items():
        deps = {Path(dep) for dep in described.get("do", described)["deps"]}
        if deps & {path, *path.parents}:
            reached.add(stage)
    assert reached == stages


PRINT_DEPS = """
from tasks.dvc_deps import code_deps
for stage in ("stage1", "evaluate"):
    for dep in code_deps("dvc.yaml", stage):
        print(stage, dep)
"""


def test_a_new_import_is_a_new_dependency(tmp_path: Path):
    """One in a function of the benchmark belongs to the step that calls it; one below, to all."""
    skip = shutil.ignore_patterns("__pycache__")
    for package in ("tasks", *PACKAGES):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=skip)

    def told() -> set[str]:
        command = [sys.executable, "-c", PRINT_DEPS]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines())

    def add(file: str, before: str, line: str) -> None:
        text = (tmp_path / file).read_text()
        assert before in text
        (tmp_path / file).write_text(text.replace(before, f"{line}\n{before}", 1))

    first = told()
    new = "    from stabledreamer_core.debugger import draw"
    add("benchmarks/claims/small_asset.py", "    config, prompt, seed =", new)  # in stage()
    second = told()
    assert second - first >= {"stage1 stabledreamer_core/debugger/draw.py"}
    assert not [dep for dep in second - first if dep.startswith("evaluate ")]
    errors = tmp_path / "stabledreamer_core/errors.py"
    errors.write_text(f"{errors.read_text()}\n\ndef late():\n    import toybox.render_sheet\n")
    third = told()
    assert {"stage1 toybox/render_sheet.py", "evaluate toybox/render_sheet.py"} <= third - second
