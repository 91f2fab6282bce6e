"""stabledreamer debug: what the prior makes of renders, as pictures and a video."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from stabledreamer.cli.options import Overrides

EXAMPLES = """\
examples:
  stabledreamer dream "a blue car" --seed 3 --set debug.every=50    # records while it is made
  stabledreamer debug outputs/a-blue-car-s3 --video
  stabledreamer debug outputs/a-blue-car-s3 --stage 2 --noise 0.1 0.3 0.6
  stabledreamer debug outputs/a-blue-car-s3 --set stage1.guidance_scale=20 --out strong.png
"""


app = App(name="debug", help_epilogue=EXAMPLES)


@app.default
def debug(
    dir: Path,
    /,
    *,
    stage: Literal[1, 2] = 1,
    noise: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (0.2, 0.5, 0.8),
    video: bool = False,
    checkpoint: Path | None = None,
    overrides: Overrides = (),
    params: Path | None = None,
    preset: str | None = None,
    quick: bool = False,
    out: Path | None = None,
) -> int:
    """See what the prior makes of an asset's renders.

    For a few views and noise levels: the render, the noised render, what the prior takes it to be
    in one step (the target of the loss) and in many, their difference and the loss. Works on
    finished assets and on those in the making. Of a run that was recorded (--set debug.every=N),
    also how these went. docs/debugger.md says how to read the pictures.

    Args:
        dir: an asset's folder.
        stage: default 1.
        noise: noise levels in (0, 1), default 0.2 0.5 0.8.
        video: write DIR/debug/stage<N>.mp4 of the recorded run.
        checkpoint: Gaussians to look at (.safetensors), default the stage's result, or its newest
            state.
        overrides: ask the prior with another setting, a.b=c; may be given often.
        params: of an unfinished asset: what dream was given.
        preset, quick: the same.
        out: default DIR/debug-stage<N>.png, and the report shows it too.
    """
    from stabledreamer.cli.debug_asset import check_levels, draw_result, draw_run, find_subject

    levels = list(noise)
    check_levels(levels)
    subject = find_subject(dir, stage, checkpoint)
    for path in draw_run(subject, video):
        print(path, flush=True)
    if subject.checkpoint is None:
        print(f"stage {stage} has no checkpoint to look at yet", file=sys.stderr)
        return 0
    given = (params, preset, quick)
    for path in draw_result(subject, levels, out, list(overrides), given):
        print(path, flush=True)
    return 0
