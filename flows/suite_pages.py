"""What Prefect's page shows of a suite: the summary, and the comparison with the run before."""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows.comparison import Entry, compare, failure_rows, markdown
from stabledreamer.runtime.artifacts import (
    artifact_key,
    best_effort,
    counted,
    embedded,
    escaped,
    gallery_link,
    logger,
    number,
    report_link,
    table,
)
from stabledreamer_core.files import atomic_write

FIGURES = ("category", "colour", "accessory", "view", "multi_face", "chamfer")


def publish_suite(out: Path, summary: dict[str, Any]) -> None:
    """Show the summary under the key `artifact_key(out)`."""
    with best_effort("the suite's page in Prefect"):
        assets, failures = summary["assets"], summary["failures"]
        parts = [f"# {counted(len(assets), 'asset')}, {counted(len(failures), 'failure')}"]
        if failures:
            parts.append(table(("failed", "seed", "why"), failure_rows(failures)))
        if assets:
            metrics = summary["metrics"]
            means = [number(metrics.get(name, {}).get("mean")) for name in FIGURES]
            rows = [
                (
                    escaped(asset["prompt"]),
                    asset["seed"],
                    *(number(asset["metrics"].get(name)) for name in FIGURES),
                    report_link(out / asset["folder"]),
                )
                for asset in assets
            ]
            header = ("prompt", "seed", *FIGURES, "page")
            parts.append(table(header, [("mean", "", *means, ""), *rows]))
            parts.append(gallery_link(out))
            parts.append(f"![all assets]({embedded(out / 'contact_sheet.png', 1200)})")
        create_markdown_artifact("\n\n".join(parts), key=artifact_key(out), description=str(out))


def publish_comparison(out: Path, before: Entry, now: Entry) -> None:
    """Write comparison.md, and show it under the key `artifact_key(out)`-comparison."""
    comparison = compare(before, now)
    text = markdown(comparison, before, now)
    with atomic_write(out / "comparison.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    logger().log(30 if comparison.worse or comparison.failing else 20, comparison.verdict)
    with best_effort("the comparison's page in Prefect"):
        key = f"{artifact_key(out)}-comparison"
        create_markdown_artifact(text, key=key, description=comparison.verdict)
