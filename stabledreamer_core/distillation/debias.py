"""Debiased-SDS (Hong et al. 2023, arXiv 2303.15413): clipped scores, and debiased prompts.

Settings `view_bias.score_clip`, `debias_words` and `language_model` of a stage. A prior that wants
a face everywhere pulls hardest there, which a bound on each number of the score takes away; and a
prompt such as "a smiling bear, back view" contradicts itself, which dropping a word resolves.
"""

import string
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.distillation.loss import per_sample
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.view_prompts import VOCABULARIES, view_prompts
from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.priors.quiet import quiet
from stabledreamer_core.priors.schedule import Schedule
from stabledreamer_core.settings.stage import Stage

SIDES = ("front", "side", "back", "overhead")
AGAINST = 0.95  # a word that makes a side less likely than this contradicts it

Sides = Callable[[str], dict[str, float]]  # a prompt -> the probability of each of `SIDES`


def clip_score(target: Tensor, asked: Question, schedule: Schedule, bound: float) -> Tensor:
    """Bound each number of the score, alpha / sigma (x - target), to [-bound, bound].

    Of SDS the score is eps_hat - eps. Where the bound is wide the target keeps its bits.

    Args:
        target: [B, ...] in the prior's space, of the question `asked`.
    """
    alpha, sigma = schedule.at(asked.timesteps)
    most = per_sample(bound * sigma / alpha, target)
    return target.clamp(asked.x - most, asked.x + most)


def stage_prompts(stage: Stage, prompt: str, base: Path | None = None) -> list[str]:
    """Return the prompt with each of the stage's view words, debiased as its settings say.

    Args:
        base: where a relative `language_model` is looked for after the current folder.

    Raises:
        UserError: no word is left for some view, or there is no language model in that folder.
    """
    vocabulary, bias = stage.view_words, stage.view_bias
    if not bias.debias_words and bias.language_model is None:
        return view_prompts(prompt, vocabulary)
    sides = None if bias.language_model is None else masked_model(bias.language_model, base)
    found = []
    for index, view in enumerate(VOCABULARIES[vocabulary]):
        side = next(side for side in SIDES if side in view.split())
        kept = debiased(prompt, side, bias.debias_words, sides)
        if not kept:
            raise UserError(f"view_bias.debias_words leaves nothing of {prompt!r} for the {view}")
        found.append(view_prompts(kept, vocabulary)[index])
    return found


def debiased(prompt: str, side: str, candidates: tuple[str, ...], sides: Sides | None) -> str:
    """Drop the words of a prompt that contradict a side of the object.

    Args:
        side: one of `SIDES`.
        candidates: words that may be dropped; none: all of them.
        sides: a language model's; a word contradicts a side that is less likely with it than
            without. None: candidates contradict every side but the front.
    """
    words = prompt.split()
    known = {word.lower() for word in candidates}
    kept = []
    for index, word in enumerate(words):
        drop = not known or word.strip(string.punctuation).lower() in known
        if drop and sides is not None:
            without = sides(" ".join(words[:index] + words[index + 1 :]))[side]
            whole = sides(prompt)[side]
            drop = 2.0 * whole < AGAINST * (whole + without)
        elif side == "front":
            drop = False
        if not drop:
            kept.append(word)
    return " ".join(kept)


@lru_cache(maxsize=2)
def masked_model(folder: str, base: Path | None = None) -> Sides:
    """Open a masked language model of transformers (BERT's kind) as a guess at the side shown.

    Raises:
        UserError: the folder is missing or holds no such model; nothing is downloaded.
    """
    places = [Path(folder), (base or Path()) / folder]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise UserError(f"view_bias.language_model is {folder!r}: there is no such folder")
    try:
        with quiet():
            from transformers import AutoModelForMaskedLM, AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(found, local_files_only=True)
            model = AutoModelForMaskedLM.from_pretrained(found, local_files_only=True).eval()
    except Exception as error:  # a file that does not fit is met with many kinds
        raise UserError(
            f"view_bias.language_model is {folder!r}, which transformers cannot open as a masked"
            f" language model: {first_line(error)}"
        ) from error
    tokens = [tokenizer(f" {side}", add_special_tokens=False).input_ids[0] for side in SIDES]

    @lru_cache(maxsize=1024)
    def sides(prompt: str) -> dict[str, float]:
        text = f"This image shows a {tokenizer.mask_token} view of {prompt}"
        inputs = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        (masked,) = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero()[0].tolist()
        likely = logits[masked, tokens].softmax(0).tolist()
        return dict(zip(SIDES, likely, strict=True))

    return sides
