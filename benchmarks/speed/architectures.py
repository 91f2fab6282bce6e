"""Published pipelines by their architecture: built with random weights, and counted.

    python -m benchmarks.speed.architectures        # counts, on no memory

architectures.yaml has the settings, the published counts, and where both are from.
"""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from stabledreamer_core.priors.quiet import quiet

DATA = Path(__file__).with_suffix(".yaml")
UNITS = {"M": 1e6, "B": 1e9, "": 1.0}
TOLERANCE = 0.01


@cache
def read() -> dict[str, dict[str, Any]]:
    """Return what architectures.yaml holds: `components`, `schedulers`, `pipelines`."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return content


def build(name: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Any:
    """Return a component with random weights, frozen, for evaluation.

    Weights are drawn in float32 on `device` as the class itself draws them, then converted.
    """
    component = read()["components"][name]
    kind = find_class(component["class"])
    with quiet():
        with torch.device(device):
            if hasattr(kind, "from_config"):
                network = kind.from_config(component["settings"])
            else:
                network = kind(text_config(name))
        # Tables that were made by numpy are not where the rest is yet.
        return network.to(device=device, dtype=dtype).requires_grad_(False).eval()


def text_config(name: str) -> Any:
    """Return the configuration object of a component of transformers."""
    component = read()["components"][name]
    if component["class"] == "T5GemmaEncoder":  # its configuration is a part of the whole's
        parts = {part: component["settings"] for part in ("encoder", "decoder")}
        return find_class("T5GemmaConfig")(**parts, is_encoder_decoder=False).encoder
    return find_class(component["class"]).config_class(**component["settings"])


def find_class(name: str) -> Any:
    """Return a class of diffusers or transformers by its name."""
    modules = ("diffusers", "transformers", "diffusers.pipelines.prx")
    for module in (*modules, "transformers.models.qwen3_vl"):
        found = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return found
    raise LookupError(f"neither diffusers nor transformers has a class {name}")


def count(network: torch.nn.Module, buffers: bool = False) -> int:
    """Return the number of parameters, with or without the buffers that are saved."""
    values = network.state_dict().values() if buffers else network.parameters()
    return sum(value.numel() for value in values)


def published(figure: str) -> tuple[float, float]:
    """Return a published count, such as "4.3 B", and half a unit of its last digit."""
    digits, unit = re.fullmatch(r"([\d.]+) ?([MB]?)", figure).groups()  # type: ignore[union-attr]
    zeros = len(digits) - len(digits.rstrip("0")) if "." not in digits and unit else 0
    decimals = len(digits.partition(".")[2])
    return float(digits) * UNITS[unit], 0.5 * 10.0 ** (zeros - decimals) * UNITS[unit]


def main() -> None:
    print("| component | class | published | counted | off |\n| --- | --- | --- | --- | --- |")
    for name, component in read()["components"].items():
        found = count(build(name, "meta"), component.get("buffers", False))
        figure, off = component["published"] or "none found", ""
        if component["published"]:
            off = f"{found / published(figure)[0] - 1.0:+.2%}"
        print(f"| {name} | {component['class']} | {figure} | {found:,} | {off} |")


if __name__ == "__main__":
    main()
