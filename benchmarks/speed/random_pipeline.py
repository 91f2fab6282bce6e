"""A published pipeline with random weights: a folder that `load_prior` opens, and what fills it.

The folder holds descriptions alone. `random_weights` stands in for the three places that read
weights (`models.load_network`, the text encoders' and the count of their bytes), and builds the
networks at full size; all else is what runs with real weights. A cap on the GPU's memory does not
count while a network is made, which takes float32 for a while.
"""

import inspect
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file

from benchmarks.speed.architectures import build, count, find_class, read, text_config
from stabledreamer_core.priors import memory_plan, models, networks, text
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.quiet import quiet

PROMPT_TOKENS = 12  # of a prompt and of each of the pipelines' own instructions' words


def write_folder(name: str, folder: Path) -> None:
    """Write what `DiffusionPipeline.save_pretrained` writes, with empty files of weights."""
    pipeline, schedulers = read()["pipelines"][name], read()["schedulers"]
    family = FAMILIES[pipeline["index"]["_class_name"]]
    index = dict(pipeline["index"])
    for part, component in pipeline["components"].items():
        kind = read()["components"][component]["class"]
        is_text = part.startswith("text_encoder")
        index[part] = ["transformers" if is_text else "diffusers", kind]
        (folder / part).mkdir(parents=True)
        if is_text:
            text_config(component).save_pretrained(folder / part)
        else:
            build(component, "meta").save_config(folder / part)
        stem = "model" if is_text else "diffusion_pytorch_model"
        save_file({}, folder / part / f"{stem}.safetensors")
    for part in pipeline["tokens"]:
        index[part] = ["transformers", family.components[part][0]]
        (folder / part).mkdir()
        for file in ("tokenizer_config.json", "tokenizer.json"):
            (folder / part / file).write_text("{}")
    scheduler = schedulers[pipeline["scheduler"]]
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps(index))


@contextmanager
def random_weights(pipelines: dict[Path, str]) -> Iterator[dict[str, float]]:
    """Let priors in these folders have random weights.

    Args:
        pipelines: folder -> name of a pipeline in architectures.yaml.

    Yields:
        build_s and text_build_s, the seconds that making networks took so far: they would be read
        from disk instead.
    """
    spent = {"build_s": 0.0, "text_build_s": 0.0}

    def load_network(
        folder: Path,
        component: str,
        variant: str | None,
        dtype: torch.dtype,
        device: torch.device,
        memory_format: torch.memory_format = torch.channels_last,
        **_: Any,
    ) -> Any:
        described = read()["pipelines"][pipelines[folder]]["components"][component]
        with _making(spent, "build_s"):
            return build(described, device, dtype).to(memory_format=memory_format)

    def text_pipeline(
        folder: Path, variant: str | None, dtype: torch.dtype, device: torch.device
    ) -> Any:
        with _making(spent, "text_build_s"):
            return build_text_pipeline(pipelines[folder], dtype, device)

    def folder_sizes(
        folder: Path, variant: str | None, dtype: torch.dtype, side: int, text: bool = True
    ) -> memory_plan.Sizes:
        return sizes(pipelines[folder], dtype, side, text)

    with ExitStack() as stack:
        for module in (models, networks):
            stack.enter_context(patch.object(module, "load_network", load_network))
        stack.enter_context(patch.object(text, "_text_pipeline", text_pipeline))
        stack.enter_context(patch.object(memory_plan, "folder_sizes", folder_sizes))
        yield spent


def sizes(name: str, dtype: torch.dtype, side: int, text: bool = True) -> memory_plan.Sizes:
    """Count the bytes of a pipeline's networks, as `memory_plan.folder_sizes` does from files."""
    found, pipeline = {"text": 0.0, "denoiser": 0.0, "vae": 0.0}, read()["pipelines"][name]
    for part, component in pipeline["components"].items():
        kind = "text" if part.startswith("text_encoder") else part
        kind = kind if kind in ("text", "vae") else "denoiser"
        found[kind] += count(build(component, "meta")) * dtype.itemsize
    mixed = 1.25 if dtype == torch.float16 else 1.0
    memory = FAMILIES[pipeline["index"]["_class_name"]].vae_memory
    counted = mixed * found["text"] * text, found["denoiser"], found["vae"]
    return memory_plan.Sizes(*counted, side, memory)


def build_text_pipeline(name: str, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a pipeline with its text encoders alone, at full size with random weights."""
    described = read()["pipelines"][name]
    kind = find_class(described["index"]["_class_name"])
    asked = list(inspect.signature(kind.__init__).parameters.values())[1:]
    parts: dict[str, Any] = {each.name: None for each in asked if each.default is each.empty}
    if any(each.name == "requires_safety_checker" for each in asked):
        parts["requires_safety_checker"] = False
    for part, component in described["components"].items():
        if part.startswith("text_encoder"):
            maker = "cuda" if torch.cuda.is_available() else device  # a CPU draws slowly
            parts[part] = build(component, maker, dtype).to(device)
            tokenizer = part.replace("text_encoder", "tokenizer")
            vocabulary = parts[part].config.vocab_size
            parts[tokenizer] = RandomTokenizer(vocabulary, described["tokens"][tokenizer])
    with quiet():
        return kind(**parts)


class RandomTokenizer:
    """Ids at random where a pipeline asks its tokenizer: a text encoder takes as long for any."""

    padding_side = "right"
    added_tokens_encoder: dict[str, int] = {}  # noqa: RUF012  (never written to)

    def __init__(self, vocabulary: int, model_max_length: int):
        self.vocabulary, self.model_max_length = vocabulary, model_max_length

    def __call__(
        self,
        prompts: str | list[str],
        padding: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **_: Any,
    ) -> Any:
        """Return input_ids and attention_mask [B, L], or lists [L] for one text."""
        from transformers import BatchEncoding

        count = 1 if isinstance(prompts, str) else len(prompts)
        whole = (max_length or self.model_max_length) if padding == "max_length" else PROMPT_TOKENS
        ids = torch.randint(3, self.vocabulary, (count, whole))
        mask = (torch.arange(whole) < PROMPT_TOKENS).long().expand(count, -1)
        if return_tensors is None:
            return BatchEncoding({"input_ids": ids[0].tolist(), "attention_mask": mask[0].tolist()})
        return BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def encode(self, words: str) -> list[int]:
        """Return as many ids as words."""
        return [3] * len(words.split())

    def tokenize(self, words: str) -> list[str]:
        """Return the words."""
        return words.split()

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        """Return what was said last."""
        return messages[-1]["content"]

    def batch_decode(self, ids: Any) -> list[str]:
        """Return texts without content."""
        return [""] * len(ids)


@contextmanager
def _making(spent: dict[str, float], key: str) -> Iterator[None]:
    """Add the seconds to `spent`; lift a GPU's cap, and forget the peak of making a network."""
    began, cap = time.perf_counter(), 1.0
    if torch.cuda.is_available():
        cap = torch.cuda.get_per_process_memory_fraction()
        torch.cuda.set_per_process_memory_fraction(1.0)
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(cap)
    spent[key] += time.perf_counter() - began
