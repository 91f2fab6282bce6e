"""The judge as a classifier of views, for stages that weigh them (`view_bias.reweight`).

It then takes part in optimisation, so its own figures of such an asset (`view`, `multi_face`) are
no independent measure.
"""

from stabledreamer_core.distillation.view_weights import Classify
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import StageName


def stage_classifier(config: Config, name: StageName) -> Classify | None:
    """Return the judge's eight directions of images; None for a stage that weighs no views.

    Raises:
        UserError: there is no judge where the settings say.
    """
    if config.stage(name).view_bias.reweight == "none":
        return None
    from toybox.judge import load_judge

    judge = load_judge(config.evaluate.judge, pick_device(config.device))
    return lambda images: judge(images).view
