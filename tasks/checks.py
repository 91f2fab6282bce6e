"""People's mistakes, found before minutes are spent on them."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

import torch

from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import params_files
from stabledreamer_core.distillation.debias import stage_prompts
from stabledreamer_core.errors import UserError, did_you_mean
from stabledreamer_core.priors.catalogue import find_known
from stabledreamer_core.priors.download import check_disk, plan_download
from stabledreamer_core.priors.identity import check_manifest
from stabledreamer_core.priors.layout import read_family
from stabledreamer_core.priors.source import (
    complete_folder,
    find_file,
    find_folder,
    local_folder,
)
from stabledreamer_core.settings.config import Config, load_config
from stabledreamer_core.settings.stage import Stage
from tasks.asset_folder import check_owner, default_folder
from tasks.job import Job, Request
from tasks.needs import tell_needs, tell_plan

MAX_PROMPT_CHARS = 300  # characters
MAX_TOKENS = 77  # what IF's T5 and Stable Diffusion's CLIP read
NEEDED_BYTES = 200 * 2**20
Stamps = tuple[tuple[str, int, int], ...]  # path, time of the last change, bytes
BUNDLED = ("priors/toybox-if", "priors/toybox-flow", "priors/toybox-sd")


def prepare(request: Request) -> Job:
    """The job that a request describes.

    Raises:
        UserError: the first mistake found.
    """
    prompt, seed = clean_prompt(request.prompt), request.seed
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed is {seed}; it must be a whole number from 0 to 2^63 - 1")
    given = (Path(request.params) if request.params else None, request.quick, request.preset)
    files = tuple(params_files(*given))
    config = _settings(files, request.overrides, _stamps(files))
    folder = Path(request.out).expanduser() if request.out else default_folder(prompt, seed)
    check_owner(folder, prompt, seed)
    check_device(config.device)
    _check_formats(config)
    check_priors(config, prompt)
    check_room(folder, "choose another --out")
    check_room(Path(os.environ["PREFECT_HOME"]), "set PREFECT_HOME to another folder")
    return Job(prompt, seed, config, folder, request.bars)


@lru_cache(maxsize=4)
def _settings(files: tuple[Path, ...], overrides: tuple[str, ...], _: Stamps) -> Config:
    """A suite has the same for all its assets, and reading them takes a twentieth of a second."""
    return load_config(files, overrides)


def _stamps(files: Iterable[Path]) -> Stamps:
    """What changes when one of the files does."""
    found = []
    for file in files:
        with suppress(OSError):
            status = file.stat()
            found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)


def clean_prompt(prompt: str) -> str:
    """The prompt with single spaces.

    Raises:
        UserError: it is empty, too long, or holds no letters.
    """
    prompt = " ".join(prompt.split())
    if not prompt:
        raise UserError('the prompt is empty; say what to make, such as "a red bear"')
    if len(prompt) > MAX_PROMPT_CHARS:
        raise UserError(
            f"the prompt has {len(prompt)} characters; "
            f"priors read about {MAX_TOKENS} words, so at most {MAX_PROMPT_CHARS} are taken"
        )
    if not prompt.isprintable() or not any(character.isalpha() for character in prompt):
        raise UserError(f"the prompt {prompt!r} is not a sentence; say what to make in words")
    return prompt


def check_device(device: str) -> None:
    """Raise a UserError where a GPU is asked for that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device is cuda, and torch finds no GPU here (`stabledreamer doctor` says why); set it"
            " to auto or cpu"
        )


def check_priors(config: Config, prompt: str) -> None:
    """Both priors' files are whole, and they can know what the prompt speaks of.

    Raises:
        UserError: they are not, or they cannot.
    """
    stages = (config.stage1, config.stage2)
    if any(stage.prior in BUNDLED for stage in stages):
        check_words(prompt)
    check_models(config)
    if any(stage.view_bias.reweight != "none" for stage in stages):
        _warn_of_judged_figures()
    for stage in stages:
        stage_prompts(stage, prompt, ROOT)
        text = stage.embeddings is None
        folder = find_folder(stage.prior, stage.revision, stage.variant, ROOT, text)
        if stage.embeddings is not None:
            _check_embeddings(find_file(stage.embeddings, ROOT), folder, stage, prompt)
        _check_whole(folder, _stamps(sorted(folder.rglob("*"))))
        _check_engine(config, stage)
        tell_plan(folder, stage, config.device)
        _check_tokens(folder, stage, prompt)


def _check_formats(config: Config) -> None:
    """Raise a UserError where a format that the run shall write needs what is not installed."""
    if config.export.formats:
        from stabledreamer_core.assets.formats import named_formats

        named_formats(config.export.formats)


def check_models(config: Config) -> None:
    """Ask for every model that is not here, before the first is downloaded.

    Raises:
        UserError: one cannot be had, lacks what the settings name, or needs what this machine has
            not.
    """
    stages = (config.stage1, config.stage2)
    for stage in stages:
        known = find_known(stage.prior)
        if known is not None and known.name == stage.prior and not Path(stage.prior).exists():
            raise UserError(
                f"settings take a prior's id, not its short name {stage.prior!r}: set prior to"
                f" {known.source}, revision to {known.revision} and resolution to {known.side}, or"
                " take a --preset"
            )
        places = (Path(stage.prior), ROOT / stage.prior)
        if stage.prior in BUNDLED and not any(place.is_dir() for place in places):
            raise UserError(
                f"the bundled prior {stage.prior} is missing; restore it: git checkout -- priors"
            )
    tell_needs(config)
    plans = []
    for stage in stages:
        text = stage.embeddings is None
        asked = (stage.prior, stage.revision, stage.variant)
        if local_folder(stage.prior, ROOT) is None and complete_folder(*asked, text) is None:
            plans.append(plan_download(*asked, text))
    check_disk(plans)


def _check_embeddings(file: Path, folder: Path, stage: Stage, prompt: str) -> None:
    """Raise a UserError where a file of embeddings does not serve the prior and the prompt."""
    from stabledreamer_core.priors.embedding_file import missing_prompts, read_embeddings

    there = read_embeddings(file, folder)
    asked = [*stage_prompts(stage, prompt, ROOT), ""]
    if stage.target == "noise_free":
        asked.append(stage.negative_prompt)
    if missing := [one for one in asked if one not in there]:
        raise missing_prompts(file, missing)


@lru_cache(maxsize=4)
def _check_whole(folder: Path, _: Stamps) -> None:
    """Once a prior's files were found right they are not read again until one changes."""
    check_manifest(folder)


def _check_engine(config: Config, stage: Stage) -> None:
    """Raise a UserError where a stage's engine cannot do what is asked of it."""
    if stage.engine == "torch":
        return
    from stabledreamer_core.optimization.stage import pick_device
    from stabledreamer_core.priors.models import choose_dtype  # torch: a second
    from stabledreamer_core.priors.openvino_unet import check_openvino

    device = pick_device(config.device)
    check_openvino(device, choose_dtype(stage.dtype, stage.variant, device))


@cache
def _warn_of_judged_figures() -> None:
    _warn(
        "view_bias.reweight asks the judge what views show, so the asset's judged figures (view,"
        " multi_face) are no independent measure"
    )


@cache
def check_words(prompt: str) -> None:
    """What Toybox makes of the prompt: warns on stderr, once, of what it will not heed.

    Raises:
        UserError: it names no object that Toybox knows.
    """
    from toybox.captions import parse, vocabulary, words_alone

    parsed, words = parse(prompt), vocabulary()
    meant = {word: word + did_you_mean(word, words_alone()) for word in parsed.unknown}
    objects, colours = ", ".join(words["categories"]), ", ".join(words["colours"])
    if parsed.category is None:
        raise UserError(
            f"the bundled Toybox priors know no object in {prompt!r}"
            f"{_object_meant(parsed.unknown, words['categories'])}; they know: {objects}; "
            f"in {colours}; with {', '.join(words['accessories'])}. "
            "Other prompts need real weights: --preset open, or small"
        )
    if parsed.unknown:
        _warn(
            f"the bundled Toybox priors do not know: {', '.join(meant.values())} "
            f"(they know the colours {colours}, and {', '.join(words['accessories'])})"
        )
    if parsed.ignored:
        _warn(
            f"not heeded: {', '.join(parsed.ignored)}; a Toybox prompt has one object, its colour, "
            "and one accessory"
        )
    elif parsed.toy is None and parsed.colour:
        _warn(f"no {parsed.category} of Toybox comes like that; expect a poor likeness")


def _object_meant(unknown: Iterable[str], objects: Iterable[str]) -> str:
    """A hint at the object that one of the words nearly names."""
    hints = (did_you_mean(word, objects) for word in unknown)
    return next(filter(None, hints), "")


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def check_room(folder: Path, instead: str) -> None:
    """Raise a UserError if the folder cannot be written, or its disk is nearly full.

    Args:
        instead: what the user can do about it.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; {instead}") from None
    if free < NEEDED_BYTES:
        raise UserError(
            f"the disk of {folder} has {free // 2**20} MB free and a run needs "
            f"{NEEDED_BYTES // 2**20} MB; free some, or {instead}"
        )


def _check_tokens(folder: Path, stage: Stage, prompt: str) -> None:
    """The tokenizer's own count, where it is of the kind that one file describes."""
    file = folder / "tokenizer" / "tokenizer.json"
    if not file.is_file():
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    longest = " back right view"  # the views' words come after the prompt
    tokens = len(tokenizer.encode(prompt + longest).ids)
    most = read_family(folder)[1].max_tokens or MAX_TOKENS
    if tokens > most:
        raise UserError(
            f"the prompt has {tokens} tokens for {stage.prior}, which reads {most}; shorten it"
        )
