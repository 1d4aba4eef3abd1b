"""When a new model has answered enough: estimates that are right on average, intervals that hold whenever one looks."""

from itertools import permutations

import numpy as np
import pytest

from embedllm.new_models.stopping import Drawn, always, draw, estimates, interviewed

RNG = np.random.default_rng(0)


def test_every_estimate_of_a_batch_is_the_mean_score_on_average_over_all_ways_to_draw_it():
    answers, forecasts = RNG.random(5), RNG.random(5)
    seen = np.array([np.nan, np.nan, answers[2], np.nan, np.nan])
    share = np.array([0.4, 0.3, 0, 0.2, 0.1])
    total = np.zeros(3)
    for order in map(list, permutations([0, 1, 3, 4], 3)):
        left = 1 - np.concatenate([[0.0], np.cumsum(share[order])[:-1]])
        drawn = Drawn(np.array(order), left / share[order], left / share[share > 0].min())
        total += np.prod(share[order] / left) * estimates(drawn, answers[order], forecasts, seen).value
    assert total == pytest.approx(answers.mean())


def test_questions_are_drawn_as_often_as_their_weights_say():
    urgency, open_ = np.array([1.0, 3.0, 9.0, 2.0, 5.0]), np.array([True, True, True, False, True])
    drawn = [draw(urgency, open_, 2, RNG) for _ in range(4000)]
    first, second = np.array([one.questions for one in drawn]).T
    share = 0.5 / 4 + 0.5 * urgency[open_] / urgency[open_].sum()
    assert np.bincount(first, minlength=5)[open_] / 4000 == pytest.approx(share, abs=0.03)
    assert not np.isin(3, first) and (first != second).all()
    after = [one.weights[1] for one in drawn if list(one.questions) == [2, 0]]
    assert after == pytest.approx(np.full(len(after), (1 - share[2]) / share[0]))
    assert all((one.weights <= one.largest * (1 + 1e-12)).all() for one in drawn)


def test_intervals_hold_at_every_look_and_narrow_with_good_forecasts():
    held, widths = [], []
    for _ in range(100):
        p = RNG.beta(0.4, 0.4, 400)
        answers = (RNG.random(400) < p).astype(float)
        for told in (p, np.full(400, 0.5)):
            low, high = always(interviewed(answers, lambda seen, told=told: told, 192, RNG)[1], 0.05)
            held.append((low <= answers.mean()).all() and (answers.mean() <= high).all())
            widths.append(high[-1] - low[-1])
    assert np.mean(held) >= 0.95  # of 200; on average .05 miss at most
    good, none = np.reshape(widths, (-1, 2)).mean(axis=0)
    assert good < 0.75 * none < 0.3


def test_wrong_forecasts_cost_answers_and_not_the_promise():
    answers = (RNG.random(400) < 0.8).astype(float)
    held = []
    for _ in range(100):
        low, high = always(interviewed(answers, lambda seen, own=answers: 0.95 - 0.9 * own, 192, RNG)[1], 0.05)
        held.append(low[-1] <= answers.mean() <= high[-1])
        assert (np.diff(low) >= 0).all() and (np.diff(high) <= 0).all()
    assert np.mean(held) >= 0.9


def test_a_textbook_interval_does_not_hold_at_every_look_and_this_one_does():
    usual, ours = [], []
    for _ in range(80):
        answers = (RNG.random(3000) < 0.5).astype(float)
        values = answers[:512]
        n = np.arange(1, 513)
        mean, truth = values.cumsum() / n, answers.mean()
        usual.append((np.abs(mean - truth) <= 1.96 * 0.5 / np.sqrt(n))[31:].all())
        low, high = always(interviewed(answers, lambda seen: np.full(3000, 0.5), 512, RNG)[1], 0.05)
        ours.append((low <= truth).all() and (truth <= high).all())
    assert np.mean(usual) < 0.85 < 0.95 <= np.mean(ours)


def test_all_questions_can_be_asked():
    answers = (RNG.random(40) < 0.5).astype(float)
    order, found = interviewed(answers, lambda seen: np.full(40, 0.5), 99, RNG)
    assert sorted(order) == list(range(40)) and found.value[-1] == pytest.approx(answers.mean())
