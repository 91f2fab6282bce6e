"""The diffusion view classifier, on a prior whose best denoiser is known in closed form."""

import pytest
import torch

from stabledreamer_core.distillation.view_prompts import COARSE_WORDS, FINE_WORDS
from stabledreamer_core.metrics.view_classifier import (
    accuracy,
    agreement,
    classify_sides,
    front_arcs,
    front_share,
    has_second_face,
    true_words,
)
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.schedule import ddpm_schedule

EIGHT = torch.arange(8) * 45.0


class Blobs:
    """A prior whose images of view k are normal about means[k] with deviation `spread`.

    Its noise prediction is the exact conditional mean, so the classifier must find the nearest
    mean: for equal deviations that is Bayes' rule.
    """

    schedule = ddpm_schedule(torch.linspace(0.999, 0.001, 1000))

    def __init__(self, spread=0.1):
        self.means = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        self.spread, self.seen = spread, []

    def embed(self, prompts):
        known = [f"a toy, {words}" for words in FINE_WORDS]
        return torch.tensor([[[float(known.index(prompt))]] for prompt in prompts])

    def encode(self, images):
        return images

    def predict_eps(self, x_t, timesteps, embeddings):
        self.seen.append((x_t, timesteps))
        mean = self.means[embeddings[:, 0, 0].long()]
        alpha, sigma = (part[:, None, None, None] for part in self.schedule.at(timesteps))
        pull = alpha * self.spread**2 / (alpha**2 * self.spread**2 + sigma**2)
        x0 = mean + pull * (x_t - alpha * mean)
        return (x_t - alpha * x0) / sigma


def ask(prior, images, levels=(0.5, 0.7, 0.9), noises=1, vocabulary="eight", seed=0):
    return classify_sides(prior, images, "a toy", vocabulary, levels, noises, seed)


def test_the_nearest_mean_wins():
    prior = Blobs()
    order = torch.tensor([3, 0, 7, 1, 1, 6, 5, 2])
    noise = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    found = ask(prior, prior.means[order] + 0.1 * noise)
    assert found.errors.argmin(1).tolist() == order.tolist()
    assert found.best == [FINE_WORDS[index] for index in order]


def test_between_two_means_the_nearer_one_wins_just_as_bayes_says():
    prior = Blobs()
    shares = torch.tensor([0.2, 0.4, 0.6, 0.8])[:, None, None, None]
    images = torch.lerp(prior.means[:1], prior.means[4:5], shares)
    found = ask(prior, images, noises=20).errors
    assert (found[:, 0] < found[:, 4]).tolist() == [True, True, False, False]


def test_all_words_see_the_same_noise_and_every_draw_another():
    prior = Blobs()
    ask(prior, prior.means, levels=(0.4, 0.8), noises=2)
    by_draw = [prior.seen[start : start + 8] for start in range(0, 32, 8)]
    assert len(prior.seen) == 2 * 2 * 8
    for words in by_draw:
        assert all(torch.equal(x_t, words[0][0]) for x_t, _ in words)
    assert len({float(words[0][0].sum()) for words in by_draw}) == 4
    assert [int(words[0][1][0]) for words in by_draw] == [400, 400, 800, 800]


def test_the_same_seed_gives_the_same_errors():
    prior = Blobs()
    first, again = ask(prior, prior.means).errors, ask(prior, prior.means).errors
    assert torch.equal(first, again)
    assert not torch.equal(first, ask(prior, prior.means, seed=1).errors)


@pytest.mark.parametrize("folder", ["tiny_if", "tiny_sd", "tiny_sd_v"])
def test_pixel_and_latent_priors_are_asked_alike(folder, request, monkeypatch):
    prior = load_prior(str(request.getfixturevalue(folder)))
    calls = []
    predict = type(prior).predict_eps

    def counted(self, x_t, *rest):
        calls.append(len(x_t))
        return predict(self, x_t, *rest)

    monkeypatch.setattr(type(prior), "predict_eps", counted)
    images = torch.rand(3, 3, prior.resolution, prior.resolution)
    found = classify_sides(prior, images, "a bear", "four", (0.3, 0.6), 2)
    assert found.words == COARSE_WORDS  # overhead is left out
    assert found.errors.shape == (3, 3) and found.errors.isfinite().all()
    assert sum(calls) == 3 * 3 * 2 * 2  # views, words, levels, noises: the stated cost


F, FL, L, BL, B, BR, R, FR = FINE_WORDS


@pytest.mark.parametrize(
    ("best", "share", "arcs"),
    [
        ([F, FL, L, BL, B, BR, R, FR], 3 / 8, 1),  # one face, across the cut of the circle
        ([F, FL, L, FR, F, FL, R, FR], 6 / 8, 2),  # back to back
        ([F, FL, FR, F, FL, BR, R, FR], 6 / 8, 1),  # a quarter turn apart: the share tells
        ([F, FL, L, BL, F, BR, R, FR], 4 / 8, 2),  # one misjudged view
        ([L, L, B, B, B, B, R, R], 0.0, 0),
        ([F] * 8, 1.0, 1),
    ],
)
def test_fronts_are_counted_around_the_circle(best, share, arcs):
    for turn in range(8):
        turned = best[turn:] + best[:turn]
        assert (front_share(turned), front_arcs(turned)) == (share, arcs)
        assert has_second_face(turned) == (share >= 5 / 8)


def test_true_words_in_both_vocabularies():
    assert true_words(EIGHT, 15.0, "eight") == list(FINE_WORDS)
    front, side, back = COARSE_WORDS
    assert true_words(EIGHT[::2], 15.0, "four") == [front, side, back, side]
    assert accuracy([F, L, B, BR], true_words(EIGHT[::2], 15.0, "eight")) == 0.75


def test_agreement_compares_with_what_the_judge_saw_not_with_the_truth():
    judged = torch.eye(8)[[0, 1, 2, 3, 0, 5, 6, 7]]  # it takes the back for a front
    best = [F, FL, L, BL, F, BR, R, R]
    assert agreement(best, judged, 15.0, "eight") == 7 / 8
    assert accuracy(best, true_words(EIGHT, 15.0, "eight")) == 6 / 8


@pytest.mark.slow
def test_the_bundled_prior_knows_a_bears_sides():
    """About 40 s: a true toy, and one whose half turned away shows the front once more."""
    from toybox.catalogue import Toy
    from toybox.metrics.pictures import eight_azimuths, true_camera

    prior = load_prior("priors/toybox-if")
    look = true_camera(Toy("bear", "red", "top hat", "black"), 15.0)
    images = look(eight_azimuths(), prior.resolution).on(0.5)
    prompt = "a red bear wearing a top hat"
    right = classify_sides(prior, images, prompt, "eight", (0.8, 0.9, 0.95), 1).best
    assert accuracy(right, list(FINE_WORDS)) >= 0.75
    assert front_share(right) <= 0.5
    janus = images[[0, 1, 2, 7, 0, 1, 6, 7]]
    assert (
        front_share(classify_sides(prior, janus, prompt, "eight", (0.8, 0.9, 0.95), 1).best) > 0.5
    )
