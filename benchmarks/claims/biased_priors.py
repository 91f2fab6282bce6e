"""The commands that train the priors of biased-priors.yaml.

python -m benchmarks.claims.biased_priors                      # prints all of them
python -m benchmarks.claims.biased_priors photographs | sh     # trains one
biased_weights.py makes the strong one without training.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from benchmarks.claims.rows import read_settings

FILE = Path(__file__).with_name("biased-priors.yaml")


def main() -> None:
    settings = read_settings(FILE)
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="?", choices=settings["priors"], help="default: all")
    name = parser.parse_args().name
    print("\n".join(commands(settings, [name] if name else list(settings["priors"]))))


def commands(settings: dict[str, Any], names: list[str]) -> list[str]:
    """One line for the shell a prior; each trains the bundled pixel prior further."""
    return [
        shlex.join(
            [
                *("python", "-m", "toybox.training", "pixel"),
                *(word for one in settings["priors"][name] for word in ("--set", one)),
                *("--set", f"pixel.optim.steps={settings['steps']}"),
                *("--warm-start", "priors", "--out", f"priors-{name}"),
                *("--work", f".cache/training-{name}"),
            ]
        )
        for name in names
    ]


if __name__ == "__main__":
    main()
