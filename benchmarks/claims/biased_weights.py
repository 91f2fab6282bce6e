"""A biased prior kept small: what its training changed, in eight bits a number.

    python -m benchmarks.claims.biased_weights unpack strong priors-strong    # no training
    python -m benchmarks.claims.biased_weights pack strong priors-strong      # after training it

`unpack` makes the folder that biased_priors.py trains, toybox-if, from the bundled prior and
strong.safetensors beside this file, half of its size. A tensor's largest change is 127 steps;
rounding so moves no tensor's change by more than a twentieth of its norm.
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stabledreamer.runtime.root import ROOT
from stabledreamer_core.priors.identity import MANIFEST, write_manifest

BUNDLED = ROOT / "priors" / "toybox-if"
STEPS, SCALE = 127, "|scale"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("name", help="of biased-priors.yaml")
    parser.add_argument("folder", type=Path, help="the priors' folder, which has toybox-if")
    arguments = parser.parse_args()
    file = Path(__file__).with_name(f"{arguments.name}.safetensors")
    prior = arguments.folder / BUNDLED.name
    if arguments.what == "pack":
        save_file(changes(prior), file)
        print(file)
        return
    if not file.is_file():
        parser.error(f"{arguments.name} is not kept here: train it (biased_priors.py)")
    if prior.exists():
        parser.error(f"{prior} is there already: take it away or name another folder")
    unpack(load_file(file), prior)
    print(prior)


def changes(prior: Path) -> dict[str, Tensor]:
    """Return what differs from the bundled prior's weights: int8 by `file|name`, and its scale."""
    found: dict[str, Tensor] = {}
    for file in _weights(BUNDLED):
        trained = load_file(prior / file)
        for name, bundled in load_file(BUNDLED / file).items():
            change = trained[name].float() - bundled.float()
            scale = change.abs().max() / STEPS
            if scale > 0.0:
                found[f"{file}|{name}"] = (change / scale).round().to(torch.int8)
                found[f"{file}|{name}{SCALE}"] = scale.reshape(1)
    return found


def unpack(found: dict[str, Tensor], prior: Path) -> None:
    """Write the prior's folder: the bundled one with its weights changed."""
    shutil.copytree(BUNDLED, prior, ignore=shutil.ignore_patterns("README.md", MANIFEST))
    for file in _weights(BUNDLED):
        tensors = load_file(BUNDLED / file)
        for name, bundled in tensors.items():
            key = f"{file}|{name}"
            if key in found:
                change = found[key].float() * found[key + SCALE]
                tensors[name] = (bundled.float() + change).to(bundled.dtype)
        save_file(tensors, prior / file, metadata={"format": "pt"})
    write_manifest(prior)


def _weights(prior: Path) -> list[Path]:
    return [path.relative_to(prior) for path in sorted(prior.rglob("*.safetensors"))]


if __name__ == "__main__":
    main()
