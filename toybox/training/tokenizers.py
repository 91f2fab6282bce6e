"""Tokenizers of the real classes, learnt from Toybox's captions: offline and deterministic."""

import json
import math
import string
from collections import Counter
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

from toybox.training.vocabulary import MAX_TOKENS, all_captions

T5_SPECIAL = ("<pad>", "</s>", "<unk>")
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
SPACE = "Ġ"  # as byte-level BPE writes it
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


def qwen_tokenizer(max_tokens: int) -> Qwen2Tokenizer:
    """A Qwen tokenizer (byte-level BPE) that knows every word of the captions, and single bytes.

    Its merges spell each word from left to right, so a known word is always one token. It ends
    every text in `<|endoftext|>`, so that the empty one has a token to attend to.
    """
    split: Any = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    words = {word for text in all_captions() for word, _ in split.pre_tokenize_str(text)}
    spaced = sorted(words, key=lambda word: (word[0] != SPACE, word))  # else "an" splits "orange"
    merges = dict.fromkeys(
        (word[:end], word[end]) for word in spaced for end in range(1, len(word))
    )
    tokens = [END, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    pairs: Any = list(merges)
    made = Qwen2Tokenizer(vocab=vocabulary, merges=pairs, model_max_length=max_tokens)
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return made


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
