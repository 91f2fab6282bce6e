"""The cures for the second face against closed forms; with all of them off, nothing is changed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.debugger.probe import probe
from stabledreamer_core.distillation.debias import SIDES, debiased, masked_model, stage_prompts
from stabledreamer_core.distillation.target import TARGETS, denoise
from stabledreamer_core.distillation.view_conditions import view_conditions
from stabledreamer_core.distillation.view_prompts import VOCABULARIES, view_index, view_prompts
from stabledreamer_core.distillation.view_weights import RECENT, reweighted, view_weights
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.stage import run_stage
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config, Debug, with_overrides
from stabledreamer_core.settings.stage import Stage
from tests.method.test_optimize import CPU, begin, known_prior, small_stage, strategy_of
from tests.method.test_targets import SCHEDULES, Known, parts, question
from tests.method.test_targets import stage as known_stage


def looking_from(azimuth_deg: list[float], elevation_deg: float = 10.0) -> Any:
    azimuth = torch.tensor(azimuth_deg)
    return orbit(azimuth, torch.full_like(azimuth, elevation_deg), 3.2, 40.0, 16)


def means(vocabulary: str) -> Tensor:
    """[1, V, 1, 1]: the image that the prior of test_targets.py takes each view's words for."""
    count = len(VOCABULARIES[vocabulary])
    return torch.randn(1, count, 1, 1, generator=generator("words"), dtype=torch.float64)


@pytest.mark.parametrize(("vocabulary", "arc"), [("eight", 45.0), ("four", 90.0)])
def test_interpolation_is_the_hard_switch_at_words_and_the_posteriors_mean_between(
    vocabulary: str, arc: float
) -> None:
    prior: Any = Known(SCHEDULES["ddpm"])
    hard = known_stage(view_words=vocabulary)
    soft = known_stage(view_words=vocabulary, view_bias={"interpolate": True})
    asked, words = question(), means(vocabulary)

    def x0_hat(stage: Stage, azimuth: float, elevation: float = 10.0) -> Tensor:
        cond, wrong = view_conditions(stage, words, looking_from([azimuth] * 4, elevation))
        assert wrong is None
        return denoise(stage, prior, replace(asked, cond=cond))

    for turn in range(-2, 9):
        here = x0_hat(hard, arc * turn)
        assert torch.equal(x0_hat(soft, arc * turn), here)
        # the posterior mean is affine in the words' image
        between = torch.lerp(here, x0_hat(hard, arc * (turn + 1)), 0.3)
        torch.testing.assert_close(x0_hat(soft, arc * (turn + 0.3)), between, rtol=1e-5, atol=1e-6)
    assert torch.equal(x0_hat(soft, 10.0, 75.0), x0_hat(hard, 200.0, 75.0))  # overhead


@pytest.mark.parametrize("vocabulary", ["none", "four", "eight"])
def test_with_all_off_each_view_has_the_rows_and_targets_it_had(vocabulary: str) -> None:
    stage, views = known_stage(view_words=vocabulary), looking_from([3.0, 100.0, 200.0, 290.0])
    words = torch.cat([means(vocabulary), 1.0 + means(vocabulary)])
    cond, wrong = view_conditions(stage, words, views)
    rows = [view_index(azimuth, 10.0, vocabulary) for azimuth in (3.0, 100.0, 200.0, 290.0)]
    truth = torch.stack([words[index // 2, row] for index, row in enumerate(rows)])  # two objects
    assert torch.equal(cond, truth) and wrong is None
    assert stage_prompts(stage, "a bear") == view_prompts("a bear", vocabulary)
    prior: Any = Known(SCHEDULES["flow"])
    for name, target in TARGETS.items():
        off = known_stage(target=name)
        assert torch.equal(denoise(off, prior, question()), target(off, prior, question()))


def test_wrong_views_are_the_front_and_the_side_of_that_half() -> None:
    stage = known_stage(view_bias={"perp_neg": 0.5})
    _, wrong = view_conditions(stage, means("eight"), looking_from([0.0, 100.0, 260.0]))
    front, left, right = (means("eight")[0, row] for row in (0, 2, 6))
    assert wrong is not None
    for row, side in enumerate((left, left, right)):
        assert torch.equal(wrong.words[row], torch.stack([front, side]))
    assert float(wrong.weights[0, 0]) == 0.0 and float(wrong.weights[1, 0]) > 0.75
    _, above = view_conditions(stage, means("eight"), looking_from([180.0], 70.0))
    assert above is not None and float(above.weights.abs().max()) == 0.0


def test_clipping_bounds_each_number_of_the_score_and_leaves_wide_ones_alone() -> None:
    prior: Any = Known(SCHEDULES["ddpm"])
    asked = replace(question(), progress=0.25)
    plain = denoise(known_stage(), prior, asked)
    alpha, sigma = parts(prior)
    for start, end in ((1e6, 1e6), (0.4, 1.2)):  # a quarter through the stage: .6
        clipped = denoise(known_stage(view_bias={"score_clip": (start, end)}), prior, asked)
        score, bound = alpha / sigma * (asked.x - plain), 0.75 * start + 0.25 * end
        truth = score.clamp(-bound, bound)
        assert bool((score.abs() > 0.6).any()) and bool((score.abs() < 0.6).any())
        torch.testing.assert_close(alpha / sigma * (asked.x - clipped), truth)
        assert torch.equal(clipped, plain) == (start == 1e6)


def test_a_skewed_and_certain_classifier_is_made_uniform_or_as_wanted() -> None:
    counts = torch.tensor([20, 3, 5, 4, 6, 4, 5, 3])
    looks = torch.eye(8).repeat_interleave(counts, 0)
    for wanted in (torch.full((8,), 0.125), torch.tensor([2.0, 1, 1, 1, 1, 1, 1, 2]) / 10):
        weights = view_weights(looks, looks.mean(0), wanted)
        torch.testing.assert_close((weights[:, None] * looks).sum(0) / weights.sum(), wanted)


def test_an_uncertain_classifier_comes_nearer_to_uniform() -> None:
    random = generator("looks")
    for sharpness in (1.0, 2.0, 3.0):
        scores = sharpness * torch.randn(200, 8, generator=random)
        scores[:, 0] += 1.0  # fronts everywhere
        looks = scores.softmax(1)
        weights = view_weights(looks, looks.mean(0), torch.full((8,), 0.125))
        after = (weights[:, None] * looks).sum(0) / weights.sum()
        before = looks.mean(0)
        assert -after.log().mean() < -before.log().mean()  # cross entropy with uniform
        assert after[0] < before[0]


def test_the_running_means_are_of_targets_and_of_cameras() -> None:
    prior: Any = type("Plain", (), {"decode": staticmethod(lambda x: x)})()
    looks = torch.eye(8)[[0, 0, 5, 1]]  # two objects of two views
    views, x0_hat = looking_from([0.0, 180.0, 225.0, 50.0]), torch.zeros(4, 3, 2, 2)
    found, means_ = {}, None
    for kind in ("uniform", "camera"):
        stage, means_ = known_stage(view_bias={"reweight": kind}), None
        for _ in range(400):
            means_, found[kind] = reweighted(
                stage, prior, lambda _: looks, x0_hat, views, means_, 2
            )
    half = torch.eye(8) / 2
    truth = torch.stack(
        [torch.stack([2 * half[0], half[0] + half[4]]), torch.stack(2 * [half[5] + half[1]])]
    )
    torch.testing.assert_close(means_, truth, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(found["uniform"], torch.tensor([1, 1, 2, 2]) / 8)
    # of the cameras half were in front, where all looks so; the other object looks as it is
    torch.testing.assert_close(found["camera"], torch.tensor([0.5, 0.5, 1.0, 1.0]))
    assert (1.0 - RECENT) ** 400 < 1e-6


def run(stage: Stage, answer: Tensor | None, state: TrainState | None = None, **more: Any) -> Any:
    prior = known_prior((0.9, 0.2, 0.1))
    prior.decode = lambda x: (x + 1.0) / 2.0
    start = init_ball(60, 0.5, 0.1, 0.3, generator("optimize"))
    (splats,), losses = optimize(
        *(stage, state or begin(stage, [start]), prior, torch.zeros(1, 9, 4, 8)),
        torch.zeros(1, 4, 8),
        seeds=[3],
        name="stage1",
        classify=None if answer is None else lambda images: answer.expand(len(images), 8),
        **more,
    )
    return splats, losses


def test_the_loop_weighs_views_and_resumes_with_the_same_bits(tmp_path: Path) -> None:
    stage = small_stage(target_reuse=2)
    weighed = small_stage(target_reuse=2, view_bias={"reweight": "uniform"})
    fronts, even = torch.eye(8)[0], torch.full((8,), 0.125)
    plain, _ = run(stage, fronts)
    same, _ = run(weighed, even)  # a prior without bias: all weights are 1
    assert all(torch.equal(plain[key], same[key]) for key in KEYS)

    def keep(state: TrainState) -> None:
        state.save(tmp_path / f"{state.step}", {})

    whole, _ = run(weighed, fronts, save=keep, save_every_seconds=-1.0)
    assert not torch.equal(whole["means"], plain["means"])
    for step in (3, 8):
        state, _ = TrainState.load(tmp_path / f"{step}", weighed, strategy_of(weighed), CPU)
        resumed, _ = run(weighed, fronts, state)
        assert all(torch.equal(resumed[key], whole[key]) for key in KEYS)


def test_weighing_needs_a_classifier() -> None:
    config = with_overrides(Config(), ["stage1.view_bias.reweight=uniform"])
    with pytest.raises(UserError, match=r"stage1\.view_bias\.reweight .* give run_stage"):
        run_stage(config, "stage1", "a red bear", 0)


def test_listed_words_are_dropped_from_all_but_the_front() -> None:
    stage = Stage(view_words="four", view_bias={"debias_words": ["Smiling", "eyes"]})
    assert stage_prompts(stage, "a smiling bear with big eyes, red") == [
        "a smiling bear with big eyes, red, front view",
        "a bear with big red, side view",
        "a bear with big red, back view",
        "a bear with big red, overhead view",
    ]
    with pytest.raises(UserError, match="leaves nothing of 'eyes' for the side view"):
        stage_prompts(stage, "eyes")


def test_a_language_model_says_which_words_contradict_which_side() -> None:
    def sides(prompt: str) -> dict[str, float]:  # smiles are seen from the front, tails from behind
        front = 0.25 + 0.2 * ("smiling" in prompt) - 0.1 * ("tail" in prompt)
        return {"front": front, "back": 0.5 - front, "side": 0.25, "overhead": 0.25}

    prompt = "smiling bear with a tail"
    assert debiased(prompt, "back", (), sides) == "bear with a tail"
    assert debiased(prompt, "front", (), sides) == "smiling bear with a"
    assert debiased(prompt, "side", (), sides) == prompt
    assert debiased(prompt, "front", ("smiling",), sides) == prompt


def test_a_masked_model_in_a_folder_is_asked_and_nothing_else(tmp_path: Path) -> None:
    """Its weights are zero but for the output's bias, so its answers are the bias's softmax."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SIDES, "view", "bear", "image"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = BertConfig(vocab_size=len(vocabulary), num_attention_heads=1, **sizes)
    model = BertForMaskedLM(config)
    likely = torch.tensor([0.5, 0.3, 0.15, 0.05])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cls.predictions.bias[5:9] = likely.log()
    model.save_pretrained(tmp_path)
    answer = masked_model(str(tmp_path))("a bear")
    assert answer == pytest.approx(dict(zip(SIDES, likely.tolist(), strict=True)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "none"}))
    masked_model.cache_clear()
    with pytest.raises(UserError, match="cannot open as a masked language model"):
        masked_model(str(tmp_path))
    with pytest.raises(UserError, match="there is no such folder"):
        masked_model("google-bert/bert-base-uncased")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["view_words=none", "view_bias.interpolate=true"], "view_bias.interpolate needs view"),
        (["view_words=none", "view_bias.debias_words=[face]"], "view_bias.debias_words needs view"),
        (["guidance_scale=1", "view_bias.perp_neg=0.5"], "set guidance_scale above 1"),
        (["view_bias.score_clip=[0, 1]"], "score_clip must be null"),
        (["view_bias.debias_words=[big face]"], "single words"),
        (["view_bias.perp_neg=-1"], "stage1.view_bias.perp_neg is -1"),
        (["view_bias.perpneg=1"], "did you mean stage1.view_bias.perp_neg"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_overrides(Config(), [f"stage1.{setting}" for setting in settings])


def test_the_debugger_asks_as_the_loop_does() -> None:
    bias = {"interpolate": True, "perp_neg": 0.5, "score_clip": (0.5, 2.0)}
    stage = small_stage(view_bias=bias, guidance_scale=3.0)
    asked: list[int] = []
    prior = known_prior((0.5, 0.5, 0.5))
    plain, prior.space = prior.predict_eps, "pixel"
    prior.predict_eps = lambda x, t, e: (asked.append(len(x)), plain(x, t, e))[1]
    prior.decode, prior.embed = (
        lambda x: (x + 1.0) / 2.0,
        lambda texts: torch.rand(len(texts), 4, 8),
    )
    splats = init_ball(50, 0.5, 0.1, 0.3, generator("optimize"))
    looks = probe(Debug(views=2, many_steps=0), stage, prior, splats, "a bear", [0.5], CPU)
    ((shown, _),) = looks
    assert asked == [4, 4] and "one step" in shown
