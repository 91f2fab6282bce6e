"""How steady the method is: over seeds, and over a run. Pure functions of run.json records."""

import math
import statistics
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

Run = Mapping[str, Any]  # a run.json: prompt, seed, metrics, stages


def spread_over_seeds(records: Iterable[Run], metric: str) -> dict[str, float | int | None]:
    """Measure how much a metric depends on the seed, all else equal.

    Only prompts with two or more measured seeds count. Returns their number as `prompts`, `mean`
    over all of their runs, `spread`, the root of the mean over prompts of the variance over seeds
    (n - 1), and `worst`, the largest difference between two seeds of one prompt. All but `prompts`
    are None where no prompt counts.

    How it misleads: two or three seeds tell a spread to within a factor of two at best; a method
    that always fails alike has none; a share of eight views moves in steps of 1/8.
    """
    by_prompt: dict[str, list[float]] = {}
    for record in records:
        value = record["metrics"].get(metric)
        if value is not None:
            by_prompt.setdefault(record["prompt"], []).append(float(value))
    groups = [values for values in by_prompt.values() if len(values) > 1]
    if not groups:
        return {"prompts": 0, "mean": None, "spread": None, "worst": None}
    return {
        "prompts": len(groups),
        "mean": statistics.fmean(value for values in groups for value in values),
        "spread": math.sqrt(statistics.fmean(map(statistics.variance, groups))),
        "worst": max(max(values) - min(values) for values in groups),
    }


def loss_roughness(record: Run, stage: str) -> float | None:
    """Return `roughness` of a stage's recorded losses; None where there are fewer than three."""
    return roughness(record["stages"].get(stage, {}).get("losses") or [])


def roughness(losses: list[float]) -> float | None:
    """Measure how much a loss jumps from one recorded step to the next; 0 is a smooth curve.

    With d the differences between neighbouring logarithms of the loss, it is the standard
    deviation of d, taken from the median of |d - median(d)| so that a few spikes do not decide,
    over sqrt(2), since each value enters two differences. 0.1 is noise of a tenth of the loss. It
    does not depend on the loss's unit, and a curve that falls evenly has none.

    How it misleads: the noise level is drawn anew at every step and the loss depends on it, so a
    wide range of noise levels is rough by design; fewer recorded steps, or more views a step,
    change it too. Compare runs that share all of these.
    """
    if len(losses) < 3:
        return None
    logs = [math.log(max(loss, 1e-12)) for loss in losses]
    steps = [after - before for before, after in pairwise(logs)]
    middle = statistics.median(steps)
    deviation = statistics.median(abs(step - middle) for step in steps)
    return NORMAL_DEVIATION * deviation / math.sqrt(2.0)


NORMAL_DEVIATION = 1.482602218505602  # standard deviation over median deviation, normal noise
