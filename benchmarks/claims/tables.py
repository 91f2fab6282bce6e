"""The last step of both benchmarks: from every asset's metrics to what is published.

    python -m benchmarks.claims.tables small      # into metrics/
    python -m benchmarks.claims.tables gpu        # into metrics/gpu/

summary.json has all figures, means/ one small file a variant for `dvc metrics`, tables.md what
people read, assets.csv every asset's metrics for whoever wants to test otherwise, and plots/ what
`dvc plots` draws.
"""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

from benchmarks.claims import rows as source
from benchmarks.claims.statistics import BEST, Row, compare, describe
from stabledreamer_core.files import atomic_write

Summary = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("which", choices=("small", "gpu"))
    which = parser.parse_args().which
    if which == "small":
        out, settings = Path("metrics"), source.read_settings(source.SMALL)
        rows, losses = source.small_rows(settings), source.small_losses(settings)
    else:
        out, settings = Path("metrics/gpu"), source.read_settings(source.GPU)
        rows, losses = source.gpu_rows(settings), {}
    summary = summarise(rows, settings["claims"])
    write(out, summary, rows, losses)
    print((out / "tables.md").read_text())


def summarise(rows: list[Row], claims: list[dict[str, str]]) -> Summary:
    """{"variants": {name: {metric: describe()}}, "claims": [claim and {metric: compare()}]}.

    A claim of a variant that has not been measured is left out.
    """
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    described = {
        variant: {m: found for m in BEST if (found := describe(rows, variant, m))}
        for variant in variants
    }
    compared = [
        {**claim, "metrics": {m: found for m in BEST if (found := _compare(rows, claim, m))}}
        for claim in claims
        if claim["ours"] in variants and claim["other"] in variants
    ]
    return {"variants": described, "claims": compared}


def _compare(rows: list[Row], claim: dict[str, str], metric: str) -> Any:
    return compare(rows, claim["ours"], claim["other"], metric)


def write(
    out: Path, summary: Summary, rows: list[Row], losses: dict[str, list[dict[str, Any]]]
) -> None:
    """Everything that is published, into `out`."""
    means = {
        variant: {metric: round(found["mean"], 4) for metric, found in figures.items()}
        for variant, figures in summary["variants"].items()
    }
    _write(out / "summary.json", _json(summary))
    for variant, figures in means.items():
        _write(out / "means" / f"{variant}.json", _json(figures))
    _write(out / "tables.md", markdown(summary))
    _write(out / "assets.csv", assets_csv(rows))
    bars = [{"variant": variant, **figures} for variant, figures in means.items()]
    _write(out / "plots" / "variants.csv", csv_text(["variant", *BEST], bars))
    for stage, curve in losses.items():
        _write(out / "plots" / f"{stage}.json", _json(curve))  # in CSV, nothing would be drawn as 0


def assets_csv(rows: list[Row]) -> str:
    """A line an asset: its variant, prompt, seed and metrics."""
    assets = [{**row, **{m: rounded(row["metrics"].get(m)) for m in BEST}} for row in rows]
    return csv_text(["variant", "prompt", "seed", *BEST], assets)


def markdown(summary: Summary) -> str:
    """The tables: all variants, all claims in short, then a table a claim."""
    named = [f"{metric} ({best:g})" for metric, best in BEST.items()]
    parts = [
        "Mean ± standard deviation over prompts (seeds averaged first); in brackets what a perfect "
        "asset has.",
        table(
            ["variant", "n", *named],
            [
                [variant, _count(figures), *(_spread(m, figures.get(m)) for m in BEST)]
                for variant, figures in summary["variants"].items()
            ],
        ),
    ]
    if summary["claims"]:
        parts += [
            "Differences of means over prompts, with p of the paired test in brackets; bold where "
            f"p is below .05, as {0.05 * len(BEST):.1f} of every {len(BEST)} are by chance.",
            table(
                ["claim", "ours - other", *named],
                [
                    [
                        claim["claim"],
                        f"{claim['ours']} - {claim['other']}",
                        *(_short(m, claim["metrics"].get(m)) for m in BEST),
                    ]
                    for claim in summary["claims"]
                ],
            ),
        ]
    for claim in summary["claims"]:
        parts += [
            f"### {claim['claim'][0].upper()}{claim['claim'][1:]}",
            f"`{claim['ours']}` against `{claim['other']}`: means over n prompts, their difference "
            "with its 95 % interval, and p of Wilcoxon's signed-rank test (two-sided, this metric "
            "alone).",
            table(
                ["metric", claim["ours"], claim["other"], "difference", "p", "n"],
                [_claim_row(metric, found) for metric, found in claim["metrics"].items()],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _claim_row(metric: str, found: dict[str, Any]) -> list[str]:
    low, high = found["low"], found["high"]
    difference = _digits(metric, found["difference"], "+")
    if low is not None:
        difference += f" ({_digits(metric, low, '+')} to {_digits(metric, high, '+')})"
    means = [_digits(metric, found[side]) for side in ("ours", "other")]
    return [f"{metric} ({BEST[metric]:g})", *means, difference, f"{found['p']:.4f}", found["n"]]


def _short(metric: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    text = f"{_digits(metric, found['difference'], '+')} ({found['p']:.4f})"
    return f"**{text}**" if found["p"] < 0.05 else text


def _digits(metric: str, value: float, sign: str = "") -> str:
    """To a thousandth; distances, of which a hundredth is much, to a tenth of that."""
    return f"{value:{sign}.{4 if metric == 'chamfer' else 3}f}"


def rounded(value: float | None) -> float | None:
    """To a millionth, for CSV."""
    return None if value is None else round(value, 6)


def _spread(metric: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    mean, spread = _digits(metric, found["mean"]), found["spread"]
    return mean if spread is None else f"{mean} ± {_digits(metric, spread)}"


def _count(figures: dict[str, Any]) -> int:
    return max((found["n"] for found in figures.values()), default=0)


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def csv_text(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """CSV with a header, of these columns alone."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json(value: Any) -> str:
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    return json.dumps(rounded, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
