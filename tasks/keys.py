"""What each step of a run depends on, as one content key a step.

Two runs of a step with equal keys give the same files. The key covers the settings the step
reads, the prompt, the seed, the files of the models it uses, its input files and the code; so a
changed mesh setting changes the mesh's key alone. Of the code it covers what the step can reach
through imports (code_reach.py). Whoever caches asks here, so all agree.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stabledreamer.runtime.root import ROOT
from stabledreamer_core.assets.mesh.light import Light, read_light
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.output import Evaluate
from stabledreamer_core.settings.stage import Stage
from tasks.code_reach import code_hash

Files = dict[str, str]  # path relative to the asset folder -> sha256


@dataclass(frozen=True)
class Step:
    """What one step reads.

    Attributes:
        root: the module whose function it calls; its key covers all that this module reaches.
        settings: sections of params.yaml.
        inputs: files of earlier steps, relative to the asset folder.
        outputs: files it leaves there.
        optional: files it leaves there if its settings ask for them.
    """

    root: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional: tuple[str, ...] = ()


STAGE1 = "stage1/gaussians.safetensors"
STAGE2 = "stage2/gaussians.safetensors"
MESH = "mesh.glb"
LITE = "asset-light.glb"

OPTIMIZE = "stabledreamer_core.optimization.stage"
CHECK = "stabledreamer_core.optimization.checkpoint"
PLY = "stabledreamer_core.assets.splats.ply"
LOOK = "stabledreamer_core.assets.turntable"
EXTRACT = "stabledreamer_core.assets.see_through"
FORMATS = "stabledreamer_core.assets.formats"
EXPORTS = (  # of `FORMATS`, which takes a while to import; gaussians.ply has a step of its own
    *("gaussians.compressed.ply", "gaussians.spz", "gaussians.v4.spz", "gaussians.sog"),
    *("gaussians.glb", "mesh.usdz", "mesh.obj", "mesh.mtl", "mesh.png", "mesh.stl"),
)
MEASURE = "toybox.metrics.evaluate"

STEPS: dict[str, Step] = {
    "stage1": Step(OPTIMIZE, ("device", "gaussians", "stage1"), (), (STAGE1,)),
    "checkpoint1": Step(CHECK, (), (STAGE1,), ()),
    "stage2": Step(OPTIMIZE, ("device", "stage2"), (STAGE1,), (STAGE2,)),
    "checkpoint2": Step(CHECK, (), (STAGE2,), ()),
    "gaussians": Step(PLY, (), (STAGE2,), ("gaussians.ply",)),
    "turntable": Step(LOOK, ("device", "turntable"), (STAGE2,), ("turntable.mp4",)),
    "preview": Step(LOOK, ("device", "turntable"), (STAGE2,), ("preview.png",)),
    "mesh": Step(EXTRACT, ("device", "mesh"), (STAGE2,), (MESH,), (LITE,)),
    "export": Step(FORMATS, ("export",), (STAGE2, MESH), (), EXPORTS),
    "evaluate": Step(MEASURE, ("device", "evaluate"), (STAGE2, MESH), ()),
}


def step_key(step: str, config: Config, prompt: str, seed: int, files: Files) -> str:
    """The content key of one of `STEPS`.

    Args:
        files: sha256 of the files made so far; must name all of the step's inputs.
    """
    reads = STEPS[step]
    return content_key(
        step,
        {section: _plain(getattr(config, section)) for section in reads.settings},
        prompt,
        seed,
        _models_hash(step, config),
        {path: files[path] for path in reads.inputs},
        code_hash(reads.root),
    )


def content_key(
    step: str,
    params: Mapping[str, Any],
    prompt: str,
    seed: int,
    prior_hash: str,
    inputs: Mapping[str, str],
    code: str,
) -> str:
    """Hex sha256 of everything that decides what a step makes.

    Args:
        params: the settings it reads, plain JSON values.
        prior_hash: of the models' files; empty where it uses none.
        inputs: sha256 by input file.
        code: of `code_hash`.
    """
    everything = {
        "step": step,
        "params": params,
        "prompt": prompt,
        "seed": seed,
        "prior": prior_hash,
        "inputs": inputs,
        "code": code,
    }
    return hashlib.sha256(canonical_json(everything).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Config) -> str:
    """Hex sha256 of all settings."""
    return hashlib.sha256(canonical_json(_plain(config)).encode()).hexdigest()


def _models_hash(step: str, config: Config) -> str:
    if step in ("stage1", "stage2"):
        stage: Stage = getattr(config, step)
        return " ".join([_prior_hash(stage.prior, stage.revision), *_other_models(config, stage)])
    if step == "evaluate":
        return _evaluators_hash(config.evaluate)
    if step == "mesh":
        return repr(light_of(config))
    return ""


def _other_models(config: Config, stage: Stage) -> list[str]:
    """The hashes of the models that a stage asks beside its prior."""
    bias = stage.view_bias
    models = [] if bias.language_model is None else [_folder_hash(bias.language_model)]
    return models if bias.reweight == "none" else [*models, _folder_hash(config.evaluate.judge)]


def light_of(config: Config) -> Light | None:
    """The light in the pictures of the prior that coloured the asset, if its folder says."""
    from stabledreamer_core.priors.source import local_folder  # imports torch

    last = config.stage2 if config.stage2.iterations else config.stage1
    folder = local_folder(last.prior, ROOT)
    return None if folder is None else read_light(folder)


def _evaluators_hash(evaluate: Evaluate) -> str:
    """Of every model that takes part in the metrics with these settings."""
    hashes = [_folder_hash(evaluate.judge)]
    if evaluate.view_classifier:
        hashes.append(_prior_hash(evaluate.view_prior.prior, evaluate.view_prior.revision))
    if evaluate.clip is not None:
        hashes.append(_folder_hash(evaluate.clip))
    return " ".join(hashes)


def _prior_hash(source: str, revision: str | None) -> str:
    from stabledreamer_core.priors import prior_hash  # torch: a second that --help need not wait

    return prior_hash(source, revision=revision, base=ROOT)


def _folder_hash(folder: str) -> str:
    """Of a local model folder; empty where there is none, as for prompts without a judge."""
    from stabledreamer_core.priors.identity import file_hash

    local = Path(folder) if Path(folder).is_dir() else ROOT / folder
    digest = hashlib.sha256()
    for path in sorted(local.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(local).as_posix()} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
