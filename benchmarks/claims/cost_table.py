"""Saved time beside quality: a line a variant, its seconds and its paired differences."""

from typing import Any

from benchmarks.claims import depth_chamfer
from benchmarks.claims.statistics import Row, compare
from benchmarks.claims.tables import csv_text, rounded, table

METRICS = {  # metric: digits after the point
    **dict.fromkeys(("category", "colour", "accessory", "view", "multi_face", "r_precision"), 3),
    depth_chamfer.NAME: 4,
    "colour_error": 4,
    "detail": 3,
}


def seconds(rows: list[Row], variant: str) -> dict[str, float]:
    """Seconds of each stage for all of a variant's assets, each with its share of its batch."""
    mine = [row["stages"] for row in rows if row["variant"] == variant]
    return {stage: sum(row[stage] for row in mine) for stage in mine[0]} if mine else {}


def markdown(rows: list[Row], claims: list[dict[str, str]]) -> str:
    """The table: a claim's `ours` against its `other`, of those that have been measured."""
    lines = []
    for claim in claims:
        ours, other = seconds(rows, claim["ours"]), seconds(rows, claim["other"])
        if ours and other:
            ratio = sum(ours.values()) / max(sum(other.values()), 1e-9)
            took = " + ".join(f"{value:.1f}" for value in ours.values())
            quality = [_difference(rows, claim, metric) for metric in METRICS]
            lines.append([claim["claim"], claim["ours"], took, f"{ratio:.2f}", *quality])
    others = {claim["other"] for claim in claims if seconds(rows, claim["other"])}
    base = "".join(f"; `{name}` {_described(rows, name)}" for name in sorted(others))
    return (
        f"Seconds are of both stages, for all assets of the variant{base}. Then the mean "
        "difference over prompts (seeds averaged first) with its 95 % interval and p of Wilcoxon's "
        f"signed-rank test; bold where p is below .05, as {0.05 * len(METRICS):.1f} of every "
        f"{len(METRICS)} are by chance. `{depth_chamfer.NAME}` is of depth maps, not of meshes "
        "(benchmarks/claims/depth_chamfer.py).\n\n"
        + table(["change", "variant", "seconds", "ratio", *METRICS], lines)
        + "\n"
    )


def assets_csv(rows: list[Row]) -> str:
    """A line an asset: what it is, its share of its batch's seconds, and its metrics."""
    stages = list(dict.fromkeys(stage for row in rows for stage in row["stages"]))
    lines = [
        {
            **row,
            **{f"{stage}_seconds": rounded(row["stages"].get(stage)) for stage in stages},
            **{metric: rounded(row["metrics"].get(metric)) for metric in METRICS},
        }
        for row in rows
    ]
    columns = ["variant", "prompt", "seed", "batch", "device"]
    return csv_text([*columns, *(f"{stage}_seconds" for stage in stages), *METRICS], lines)


def _described(rows: list[Row], variant: str) -> str:
    took = " + ".join(f"{value:.1f}" for value in seconds(rows, variant).values())
    mine = [row for row in rows if row["variant"] == variant]
    batches = "/".join(str(size) for size in sorted({row["batch"] for row in mine}))
    return f"took {took} for {len(mine)} in batches of {batches}"


def _difference(rows: list[Row], claim: dict[str, str], metric: str) -> str:
    found: dict[str, Any] | None = compare(rows, claim["ours"], claim["other"], metric)
    if found is None:
        return "-"
    digits = METRICS[metric]
    text = f"{found['difference']:+.{digits}f}"
    if found["low"] is not None:
        text += f" ({found['low']:+.{digits}f} to {found['high']:+.{digits}f})"
    text += f", {found['p']:.4f}"
    return f"**{text}**" if found["p"] < 0.05 else text
