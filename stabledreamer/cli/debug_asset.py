"""What `stabledreamer debug` looks at in an asset's folder, and what it leaves there."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stabledreamer.cli.evaluate import config_of
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.debugger.files import DebugRecord, forget, read_records, write_record
from stabledreamer_core.debugger.record import FOLDER
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.settings.config import Config, with_overrides
from tasks import run_record
from tasks.keys import STAGE1, STAGE2

Given = tuple[Path | None, str | None, bool]  # --params, --preset, --quick


@dataclass(frozen=True)
class Subject:
    """One stage of an asset, finished or not."""

    folder: Path
    stage: int
    prompt: str
    seed: int
    record: dict[str, Any] | None  # run.json; None while the asset is unfinished
    checkpoint: Path | None  # the Gaussians to look at
    own: bool  # whether they are the finished stage's result

    @property
    def key(self) -> str | None:
        """Of the stage as it was finished."""
        steps = self.record.get("steps", {}) if self.record else {}
        return steps.get(f"stage{self.stage}", {}).get("key")

    @property
    def records(self) -> Path:
        """The folder of this stage's records."""
        return self.folder / FOLDER / f"stage{self.stage}"


def check_levels(levels: list[float]) -> None:
    """Raise a UserError where a noise level is out of range."""
    if not all(0.0 < level < 1.0 for level in levels):
        raise UserError("--noise takes levels between 0 and 1, such as 0.2 0.5 0.8")


def find_subject(folder: Path, stage: int, checkpoint: Path | None) -> Subject:
    """What there is to look at.

    Raises:
        UserError: the folder is no asset's, or `checkpoint` does not exist.
    """
    record = run_record.read(folder) if (folder / run_record.NAME).exists() else None
    owner = record or _owner(folder)
    if owner is None:
        run_record.read_asset(folder)  # says what is wrong
        raise UserError(f"{folder} is no asset's folder: it says no prompt")
    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f"--checkpoint {checkpoint} is not a file")
    found = checkpoint or _newest_checkpoint(folder, stage)
    own = record is not None and checkpoint is None
    return Subject(folder, stage, str(owner["prompt"]), int(owner["seed"]), record, found, own)


def draw_run(subject: Subject, video: bool) -> Iterator[Path]:
    """Pictures of what was recorded of the stage, as far as it is; yields the files' paths.

    Raises:
        UserError: a video or anything at all is asked for, and there is nothing to draw.
    """
    from stabledreamer_core.debugger.draw import write_steps, write_video

    records = read_records(subject.records, "step-*", subject.key)
    if not records:
        if video or subject.checkpoint is None:
            raise UserError(
                f"{subject.folder} holds no records of stage {subject.stage}"
                f"{'' if subject.checkpoint else ', nor a checkpoint'}; a run is recorded while it "
                "goes on: stabledreamer dream ... --set debug.every=50, with another --out if the "
                "asset is finished"
            )
        return
    sheet = subject.records.with_suffix(".png")
    write_steps(records, sheet)
    yield sheet
    if video:
        path = subject.records.with_suffix(".mp4")
        write_video(records, path)
        yield path


def draw_result(
    subject: Subject,
    levels: list[float],
    out: Path | None,
    overrides: list[str],
    given: Given = (None, None, False),
) -> Iterator[Path]:
    """The stage's Gaussians as its prior sees them; yields the files' paths.

    A finished asset's result, asked for with the asset's own settings, goes into its report too.

    Raises:
        UserError: settings, checkpoint or prior that cannot be had.
    """
    from stabledreamer_core.debugger.draw import write_levels

    config = _config(subject, overrides, given)
    picture = out or subject.folder / f"debug-stage{subject.stage}.png"
    reported = subject.own and out is None and not overrides
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        records = _probe(subject, config, sorted(set(levels)), folder)
        write_levels(records, picture)
        yield picture
        if reported:
            yield _report(subject, folder)


def _probe(
    subject: Subject, config: Config, levels: list[float], folder: Path
) -> list[DebugRecord]:
    """A record in `folder` for each noise level."""
    from stabledreamer_core.debugger.probe import probe
    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from stabledreamer_core.optimization.stage import pick_device
    from stabledreamer_core.priors import load_prior

    assert subject.checkpoint is not None
    splats, _ = load_checkpoint(subject.checkpoint)
    stage = (config.stage1, config.stage2)[subject.stage - 1]
    device = pick_device(config.device)
    prior = load_prior(
        stage.prior,
        revision=stage.revision,
        variant=stage.variant,
        dtype=stage.dtype,
        engine=stage.engine,
        embeddings=stage.embeddings,
        device=device,
        base=ROOT,
    )
    records = []
    looks = probe(config.debug, stage, prior, splats, subject.prompt, levels, device, ROOT)
    for level, (shown, seen) in zip(levels, looks, strict=True):
        end = stage.iterations
        record = DebugRecord(subject.key or "", subject.stage, end, end, tuple(shown), seen)
        records.append(write_record(folder / f"level-{level:.3f}", record, shown))
    return records


def _report(subject: Subject, folder: Path) -> Path:
    """Put the records in `folder` in place of older ones, and the page that shows them."""
    from tasks.asset_folder import lock_asset
    from tasks.report.page import write_report

    with lock_asset(subject.folder, subject.prompt, subject.seed):
        record = run_record.read_asset(subject.folder)
        for old in subject.records.glob("level-*.json"):
            forget(old)
        for path in sorted(folder.iterdir(), reverse=True):  # pictures before their JSON
            with atomic_write(subject.records / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())
        page = write_report(subject.folder)
        record["files"] |= run_record.hash_files(subject.folder, (run_record.REPORT,))
        run_record.write(subject.folder, record)
    return page


def _config(subject: Subject, overrides: list[str], given: Given) -> Config:
    params, preset, quick = given
    if subject.record is None:
        return load_config(params, overrides, quick, preset)
    if any(given):
        raise UserError(
            f"{subject.folder} is finished and has its own settings; --params, --preset and "
            "--quick are for unfinished assets, --set changes a single setting"
        )
    return with_overrides(config_of(subject.folder, subject.record), overrides)


def _owner(folder: Path) -> dict[str, Any] | None:
    """Prompt and seed of an asset in the making."""
    from tasks.asset_folder import OWNER

    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) and {"prompt", "seed"} <= set(owner) else None


def _newest_checkpoint(folder: Path, stage: int) -> Path | None:
    """The stage's result, else its newest resume state."""
    result = folder / (STAGE1, STAGE2)[stage - 1]
    if result.is_file():
        return result
    states = list((folder / f"stage{stage}" / "work").glob("*/state-*.safetensors"))
    return max(states, key=lambda path: path.stat().st_mtime, default=None)
