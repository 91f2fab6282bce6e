"""Tokenizers of the real classes, learnt from Toybox's captions: offline and deterministic."""

import json
import math
import string
from collections import Counter
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

from toybox.training.vocabulary import MAX_TOKENS, all_captions

T5_SPECIAL = ("<pad>", "</s>", "<unk>")
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
LETTERS = [*string.ascii_lowercase, *string.digits, *",.'-!?"]


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer (Unigram) that knows every word of the captions, and single letters.

    Scores are log frequencies, so a known word is always one token; a word it does not know
    falls apart into letters rather than into `<unk>`.
    """
    counts = Counter(word for text in all_captions() for word in text.replace(",", " ,").split())
    total = sum(counts.values())
    scores = {token: 0.0 for token in T5_SPECIAL}
    scores |= {"▁": -15.0} | {letter: -20.0 for letter in LETTERS}
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        for token in (f"▁{word}", word):  # both at a word's start and after a hyphen, say
            scores[token] = math.log(count / total)
    return T5Tokenizer(vocab=list(scores.items()), extra_ids=0, model_max_length=MAX_TOKENS)


def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer (BPE) with merges learnt from the captions; its ids have no gaps."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\p{L}]+|[^\s\p{L}]"), "removed", invert=True)
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        min_frequency=1,
        initial_alphabet=LETTERS,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    bpe.train_from_iterator(all_captions(), trainer)
    merges: Any = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [START, END, *LETTERS, *(letter + END_OF_WORD for letter in LETTERS)]
    tokens += [first + second for first, second in merges]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
