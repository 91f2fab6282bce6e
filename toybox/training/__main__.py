"""Command line of the training: `python -m toybox.training PART`, see `--help`."""

import argparse
import sys
import time
from pathlib import Path

from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  python -m toybox.training judge --minutes 5
  python -m toybox.training pixel --minutes 9 --later-minutes 9   # a first slice of two
  python -m toybox.training pixel --minutes 9 --later-minutes 0   # the second, to the end
  torchrun --nproc-per-node 2 -m toybox.training pixel            # on two GPUs
  python -m toybox.training vae && python -m toybox.training latent
  python -m toybox.training samples                               # scores, sheets and cards
"""
PARTS = ("pixel", "flow", "vae", "latent", "judge")


def main(arguments: list[str] | None = None) -> int:
    """Run one part; 0 done, 2 the user's mistake."""
    started = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        if options.part in PARTS:
            _train(options, started)
        elif options.part == "samples":
            _samples(options)
        elif options.part == "pack":
            from toybox.training.pack import pack

            for piece in pack(options.out, options.images, options.work, options.to):
                print(piece)
        else:
            from toybox.training.pack import unpack

            print("\n".join(unpack(options.to, Path.cwd())))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _train(options: argparse.Namespace, started: float) -> None:
    from toybox.training.device import keep_compiled, pick_device

    work = options.work / options.part
    keep_compiled(work)
    from toybox.training.loop import Slice, end_processes, start_processes
    from toybox.training.parts import FOLDERS, TRAINERS
    from toybox.training.settings import SETTINGS, load_training

    settings = load_training(options.params or SETTINGS, options.set)
    device = pick_device(options.device)
    start_processes(device)
    slice_ = Slice(
        work,
        None if options.minutes is None else started + 60.0 * options.minutes,
        None if options.later_minutes is None else 60.0 * options.later_minutes,
    )
    folder = FOLDERS[options.part]
    warm_start = None if options.warm_start is None else options.warm_start / folder
    counters = TRAINERS[options.part](settings, slice_, device, options.out / folder, warm_start)
    end_processes()
    print(f"[{options.part}] {counters.step} steps in {options.out / folder}", flush=True)


def _samples(options: argparse.Namespace) -> None:
    from toybox.training.device import pick_device
    from toybox.training.parts import score
    from toybox.training.settings import SETTINGS, load_training

    settings = load_training(options.params or SETTINGS, options.set)
    for what in options.what.split(","):
        score(what, settings, options.out, options.images, pick_device(options.device))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m toybox.training",
        description="Train, score and carry the bundled priors.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=[*PARTS, "samples", "pack", "unpack"])
    parser.add_argument("--params", type=Path, help="default: settings.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("priors"), help="where the priors go")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/training"), help="training states and logs"
    )
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="contact sheets")
    parser.add_argument("--minutes", type=float, help="end this slice after so many minutes")
    parser.add_argument(
        "--later-minutes",
        type=float,
        help="minutes planned after this slice; the schedule then ends with them",
    )
    parser.add_argument(
        "--warm-start", type=Path, help="folder of finished priors whose weights to start from"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--what", default="judge,vae,if,flow,sd", help="samples: which to score")
    parser.add_argument("--to", type=Path, default=Path("."), help="pack, unpack: the tar's folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
