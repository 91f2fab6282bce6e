"""What each stage did and cost, from run.json."""

from typing import Any

from pydantic import ValidationError

from stabledreamer_core.distillation.target import evaluations
from stabledreamer_core.settings.stage import Stage
from tasks.report.charts import loss_chart, noise_chart

TITLES = {"stage1": "Stage 1", "stage2": "Stage 2"}
NO_BREAK = "\u00a0"
AIMS = {"stage1": "shape", "stage2": "colour and detail"}


def stages(record: dict[str, Any], pictures: dict[str, str | None]) -> list[dict[str, Any]]:
    """For each stage its title, what it was made with, its picture and its curves."""
    shown = []
    for name, facts in record["stages"].items():
        settings = record["config"].get(name) or {}
        title = TITLES.get(name, name)
        iterations = int(facts.get("iterations") or 0)
        charts = [loss_chart(facts.get("losses") or [], iterations, title)]
        if isinstance(settings.get("annealing"), dict) and iterations:
            charts.append(noise_chart(settings["annealing"], iterations, title))
        about = [AIMS.get(name, "")]
        if "prior" in settings and "resolution" in settings:
            prior = str(settings["prior"]).rpartition("/")[2]
            about.append(f"{prior} at {settings['resolution']} pixels")
        shown.append(
            {
                "title": title,
                "about": ", by ".join(part for part in about if part),
                "picture": pictures.get(name),
                "charts": [chart for chart in charts if chart],
            }
        )
    return shown


def costs(record: dict[str, Any]) -> dict[str, Any]:
    """A table of the stages' costs: columns, rows of cells, a note."""
    every = list(record["stages"].items())
    seconds = [float(facts.get("seconds") or 0) for _, facts in every]
    memory = [float(facts.get("peak_memory_bytes") or 0) for _, facts in every]
    calls = [_calls(facts, record["config"].get(name) or {}) for name, facts in every]
    steps = [int(facts.get("iterations") or 0) for _, facts in every]
    known = [count for count in calls if count is not None]
    rows = [
        ("time", [*map(duration, seconds), duration(sum(seconds))]),
        ("steps", [*map(number, steps), number(sum(steps))]),
        (
            "steps a second",
            [*(number(facts.get("iterations_per_second")) for _, facts in every), ""],
        ),
        (
            "calls of the prior",
            [*map(number, calls), number(sum(known) if len(known) == len(calls) else None)],
        ),
        ("Gaussians", [*(number(facts.get("gaussians")) for _, facts in every), ""]),
        ("peak memory", [*map(gigabytes, memory), gigabytes(max(memory, default=0))]),
    ]
    views = sorted({str((record["config"].get(name) or {}).get("views", "")) for name, _ in every})
    each = f" of {' or '.join(views)} views" if all(views) else ""
    note = f"On {record['device']}. A call is a guided denoising{each}, counted from the settings."
    columns = [TITLES.get(name, name) for name, _ in every]
    return {"columns": [*columns, "both"], "rows": rows, "note": note}


def _calls(facts: dict[str, Any], settings: dict[str, Any]) -> int | None:
    """How often a stage asked its prior."""
    if not {"target_reuse", "target_steps"} <= set(settings):
        return None
    asked = -(-int(facts.get("iterations") or 0) // int(settings["target_reuse"]))
    if "target" not in settings:  # an older run: more than one step was many_steps
        return asked * int(settings["target_steps"])
    try:
        stage = Stage.model_validate(settings)
    except ValidationError:  # of another version
        return None
    return round(asked * evaluations(stage) / 2)


def duration(seconds: float) -> str:
    """Such as "35.8 s", "2 min 5 s" or "1 h 4 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    whole = round(seconds)
    hour, minute, second = whole // 3600, whole // 60 % 60, whole % 60
    parts = [(hour, "h"), (minute, "min")] if hour else [(minute, "min"), (second, "s")]
    return " ".join(f"{count}{NO_BREAK}{unit}" for count, unit in parts)


def gigabytes(count: float) -> str:
    """Memory in GiB or MiB; a dash where it was not measured."""
    if not count:
        return "–"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def number(value: float | None) -> str:
    """With commas where it is a whole one, else three digits; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
