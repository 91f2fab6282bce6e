"""Try recipes on many prompts at once, on every GPU (or the CPU), and score them with the judge.

    python -m benchmarks.search.recipe_search benchmarks/search/recipe_search.yaml \\
        --out outputs/search --batch 20

make_assets.py does the work and describes the file. Here every asset is scored after each stage,
without a mesh, and a table is printed. With --keep the Gaussians stay, as PLY files.
"""

from typing import Any

import torch

from benchmarks.search.make_assets import MADE_BY, argument_parser, make
from benchmarks.search.results import Result
from benchmarks.search.scores import doubt, haze, outline
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from toybox.metrics.evaluate import evaluate

METRICS = (
    *("category", "colour", "accessory", "view", "view_exact", "multi_face", "r_precision"),
    *("colour_error", "detail", "overlap", "size", "doubt", "haze"),
)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the Gaussians (plys/)")
    print(table(make(parser.parse_args(), (*MADE_BY, "evaluate"), score)))


def score(splats: Splats, prompt: str, config: Config, device: torch.device) -> dict[str, Any]:
    """The metrics that need no mesh."""
    scores = evaluate(splats, prompt, config.evaluate, device)
    scores["doubt"] = doubt(splats, prompt, config, device)
    scores["haze"] = haze(splats, config, device)
    scores |= outline(splats, prompt, config, device)
    return scores


def table(results: list[Result]) -> str:
    """A Markdown table: mean of every metric for each recipe, and seconds an asset."""
    lines = [
        "| recipe | runs | " + " | ".join(METRICS) + " | seconds |",
        "|---" * (len(METRICS) + 3) + "|",
    ]
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        mine = [result for result in results if result["recipe"] == recipe]
        cells = [recipe, str(len(mine))]
        for metric in METRICS:
            found = [result.get("metrics", {}).get(metric) for result in mine]
            values = [value for value in found if value is not None]
            cells.append(f"{sum(values) / len(values):.3f}" if values else "-")
        cells.append(f"{sum(r['seconds'] for r in mine) / len(mine):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
