"""The picture of docs/targets.md: what each noise and target pulls an unfinished scene towards.

    python -m benchmarks.claims.target_pictures            # writes docs/images/targets.png

A fifth of stage 1 is run, then its pixel prior is asked about two views, the front and the back, at
three noise levels, with the same random numbers for all methods. `variational` is left out: its
second network belongs to a run (record one with debug.every).
"""

import torch
from PIL import Image

from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.debugger.draw import draw
from stabledreamer_core.debugger.probe import probe
from stabledreamer_core.distillation.target import evaluations
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.stage import run_stages
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import to_bytes
from stabledreamer_core.settings.config import Config, with_overrides

PROMPT, SHARE, LEVELS = "a red bear wearing a top hat", 0.2, [0.3, 0.5, 0.8]
GUIDED = ["stage1.guidance_scale=5"]  # the difference methods show little with less
METHODS = {  # what stands beside a row: its settings
    "one_step\n(SDS)": [],
    "one_step, noise\ninverted (SDI)": ["noise=inverted"],
    "one_step, noise\nobject (CFD)": ["noise=object"],
    "many_steps (IN2N)": ["target=many_steps"],
    "many_steps, noise\ninverted (PFD)": ["target=many_steps", "noise=inverted"],
    "interval (ISM)": ["target=interval"],
    "classifier (CSD)": ["target=classifier"],
    "noise_free (NFSD)": ["target=noise_free"],
    "shifted (ASD)": ["target=shifted"],
}


def main() -> None:
    config = load_config(overrides=GUIDED)
    few = round(SHARE * config.stage1.iterations)
    unfinished = with_overrides(config, [f"stage1.iterations={few}"])
    places = {"base": ROOT, "cache_dir": EMBEDDINGS}
    scene = run_stages(unfinished, "stage1", [PROMPT], [0], None, **places)[0].splats
    prior = load_prior(str(ROOT / config.stage1.prior))
    rows = [row(config, prior, overrides, label, scene) for label, overrides in METHODS.items()]
    sides = [f"{side}, {level}" for side in ("front", "back") for level in LEVELS]
    columns = ["render", *sides[:3], "render", *sides[3:]]
    path = ROOT / "docs" / "images" / "targets.png"
    with atomic_write(path) as temporary:
        draw(columns, rows).save(temporary, format="PNG", optimize=True)
    print(path)


def row(
    config: Config, prior: Prior, overrides: list[str], label: str, scene: Splats
) -> tuple[str, Image.Image | None]:
    """A method's targets, for the front and then the back: the render and each noise level."""
    asked = with_overrides(config, [f"stage1.{each}" for each in overrides])
    settings = asked.debug.model_copy(update={"views": 2, "many_steps": 0})
    device = torch.device("cpu")
    shown = [
        pictures
        for pictures, _ in probe(settings, asked.stage1, prior, scene, PROMPT, LEVELS, device)
    ]
    name = list(shown[0])[-2]  # the target's column stands before the difference
    each = [
        picture
        for view in range(2)
        for picture in (shown[0]["render"][view], *(one[name][view] for one in shown))
    ]
    strip = torch.cat([picture.clamp(0.0, 1.0) for picture in each], -1)
    image = Image.fromarray(to_bytes(strip.permute(1, 2, 0)).numpy())
    return f"{label}\n\n{evaluations(asked.stage1)} samples a view", image


if __name__ == "__main__":
    main()
