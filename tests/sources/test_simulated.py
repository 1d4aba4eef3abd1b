"""The planted pool: its truth, its ceilings, its prompts, and the modes in which nothing is to be found."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, xlogy

from embedllm.sources._simulated_text import (
    BENCHMARKS,
    CUE_SLOTS,
    N_CUES,
    N_SUBTOPICS,
    TONES,
    TOPIC_SLOTS,
    draw_hints,
    phrases,
    posterior,
    write,
)
from embedllm.sources._simulated_world import SKILLS, Planted, draw_landscape, draw_models, draw_traits
from embedllm.sources.simulated import expected_probabilities, simulate

TRUE, TEXT, ADDITIVE = "true probability", "text ceiling", "additive text ceiling"


@pytest.fixture(scope="module")
def pool():
    return simulate()


def log_loss(truth, forecast):
    """Expected log-loss of a forecast when outcomes follow the truth."""
    return -(xlogy(truth, forecast) + xlogy(1 - truth, 1 - forecast)).mean()


def references(table):
    return tuple(table.references[name].astype(np.float64) for name in (TRUE, TEXT, ADDITIVE))


def test_same_seed_gives_the_same_table_to_the_bit():
    one, two, other = (simulate(n_models=24, n_questions=400, data_seed=seed) for seed in (3, 3, 4))
    assert one.fingerprint == two.fingerprint != other.fingerprint


@pytest.mark.parametrize("shape", [(8, 10), (24, 400), (40, 800), (200, 50)])
def test_any_size_works(shape):
    table = simulate(n_models=shape[0], n_questions=shape[1])
    assert table.shape == shape and table.observed.all()
    assert set(table.references) == {TRUE, TEXT, ADDITIVE}
    for values in table.references.values():
        assert values.dtype == np.float32 and (values > 0).all() and (values < 1).all()


def test_scores_are_draws_from_the_true_probability(pool):
    truth = references(pool)[0]
    z = (pool.scores - truth).sum(axis=1) / np.sqrt((truth * (1 - truth)).sum(axis=1))
    assert np.abs(z).max() < 4.5
    assert 0.6 < (z**2).mean() < 1.5  # 112 squared standard normals: mean 1, SD 0.13
    assert set(np.unique(pool.scores)) == {0, 1}


def test_default_pool_lies_where_the_study_says(pool):
    truth, text, additive = references(pool)
    means = truth.mean(axis=1)
    assert 0.33 < means.min() < 0.46 and 0.76 < means.max() < 0.84
    assert 0.500 < log_loss(truth, truth) < 0.525
    assert 0.572 < log_loss(truth, text) < 0.600
    assert 0.587 < log_loss(truth, additive) < 0.615
    assert 0.640 < log_loss(truth, np.broadcast_to(means[:, None], truth.shape)) < 0.665
    question = np.arange(pool.shape[1])
    assert 0.84 < truth[text.argmax(axis=0), question].mean() < 0.88
    assert 0.89 < truth.max(axis=0).mean() < 0.93


@pytest.mark.parametrize("seed", range(4))
def test_ceilings_are_ordered(seed):
    truth, text, additive = references(simulate(n_models=48, n_questions=3000, data_seed=seed))
    means = np.broadcast_to(truth.mean(axis=1, keepdims=True), truth.shape)
    losses = [log_loss(truth, forecast) for forecast in (truth, text, additive, means)]
    assert (np.diff(losses) > 0.005).all()


@pytest.mark.parametrize("parameters", [{}, {"kappa": 1.5, "blur": 0.5}, {"benchmark_in_text": False}])
def test_text_ceiling_is_calibrated(parameters):
    """E[pi | p*] = p*: in no band of p* does pi stray, with the question as the unit."""
    table = simulate(n_models=24, n_questions=12_000, data_seed=1, **parameters)
    truth, text, _ = references(table)
    z = []
    for low, high in itertools.pairwise(np.quantile(text, np.linspace(0, 1, 11))):
        residual = np.where((text >= low) & (text <= high), truth - text, 0).sum(axis=0)
        z.append(residual.sum() / np.sqrt((residual**2).sum()))
    assert np.abs(z).max() < 4


def test_additive_ceiling_is_no_forecast_from_topics(pool):
    """It differs between questions of one benchmark by the difficulty cue alone."""
    additive = pd.DataFrame(simulate(blur=0).references[ADDITIVE].T)
    keys = [pool.questions["benchmark"].to_numpy(), pool.questions["difficulty_cue"].to_numpy()]
    assert additive.groupby(keys).std().max(axis=None) < 1e-6


def test_quadrature_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    setting = Planted(kappa=1.5)
    models = draw_models(16, rng)
    traits = draw_traits(models, setting, rng)
    land = draw_landscape(setting, rng)
    full = expected_probabilities(traits, land, setting)
    additive = expected_probabilities(traits, land, setting, with_topic=False)
    n = 200_000
    alpha = np.exp(-0.03 + 0.25 * rng.standard_normal(n))
    eps, eta = rng.standard_normal(n), rng.standard_normal((n, 6))
    for m, b, c, cue in [(0, 0, 0, 0), (5, 3, 7, 4), (11, 7, 2, 1), (15, 9, 4, 3)]:
        x = (cue - 2) / np.sqrt(2)
        delta = land.difficulty[b] + 1.5 * (np.sqrt(0.35) * x + np.sqrt(0.65) * eps)
        for result, topic in [
            (full[m, b, c, cue], np.sqrt(0.5) * land.topic[b, c] + np.sqrt(0.5) * eta),
            (additive[m, b, c, cue], eta),
        ]:
            logit = alpha * (traits.ability[m, b] - delta) + 1.5 * topic @ traits.taste[m, b] / np.sqrt(6)
            gamma = list(BENCHMARKS.values())[b].guess
            pi = (1 - traits.failure[m, 0]) * (gamma + (1 - gamma) * expit(logit))
            assert abs(pi.mean() - result) < 4.5 * pi.std() / np.sqrt(n)


def test_models_have_the_planted_traits():
    models = draw_models(112, np.random.default_rng(0))
    traits = draw_traits(models, Planted(), np.random.default_rng(1))
    ability, taste = traits.ability[:, 0], traits.taste[:, 0]
    np.testing.assert_allclose(taste.std(axis=0), 1)
    np.testing.assert_allclose(taste.T @ (ability - ability.mean()), 0, atol=1e-9)
    for axis, kind in enumerate(SKILLS):
        assert taste[models["kind"] == kind, axis].mean() > 1
    assert 0.01 < traits.failure.mean() < 0.06


@pytest.mark.parametrize("n_models", [8, 24, 112, 250])
def test_roster(n_models):
    models = draw_models(n_models, np.random.default_rng(0))
    assert len(models) == n_models and models.index.is_unique
    assert models["base_model"].isin(models.index).all()
    base = models.loc[models["base_model"]]
    assert (base["kind"] == "base").all()
    assert (base["parameters_b"].to_numpy() == models["parameters_b"]).all()
    assert ((models["kind"] == "base") == (models["base_model"] == models.index)).all()
    if n_models >= 64:
        assert models["family"].nunique() == 16
        assert models["parameters_b"].value_counts()[[7.0, 13.0, 70.0]].min() >= n_models / 6
        assert set(models["kind"]) == {"base", *SKILLS}
        assert np.corrcoef(np.log(models["parameters_b"]), np.log(models["cost"]))[0, 1] > 0.9


@pytest.mark.parametrize("name", BENCHMARKS)
def test_vocabulary_is_whole_and_unambiguous(name):
    benchmark = BENCHMARKS[name]
    assert len(set(benchmark.templates)) >= 10 and len(set(benchmark.steps)) >= N_CUES
    for template in benchmark.templates:
        assert sorted(re.findall(r"{(\w+)}", template)) == sorted(TOPIC_SLOTS + CUE_SLOTS)
    for slot in phrases(benchmark):
        assert [len(group) for group in slot] == [4] * N_SUBTOPICS  # equal, so that the posterior holds
        words = [word for group in slot for word in group]
        assert len(set(words)) == len(words) and all(words)
    assert benchmark.skill in SKILLS and 0 <= benchmark.guess <= 0.5


def test_prompts_are_distinct_and_of_readable_length(pool):
    prompts = pool.questions["prompt"]
    words = prompts.str.split().str.len()
    assert words.min() >= 15 and words.max() <= 70
    assert prompts.duplicated().mean() < 0.02
    assert not prompts.str.contains(r"[{}]|  | ,").any()


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("blur", [0.15, 0.6])
def test_posterior_equals_brute_force_from_the_text(name, blur):
    """Read the fillers off the finished prompt and apply Bayes' rule cell by cell."""
    rng, benchmark, n = np.random.default_rng(0), BENCHMARKS[name], 30
    subtopic, cue = rng.integers(N_SUBTOPICS, size=n), rng.integers(N_CUES, size=n)
    hints = draw_hints(subtopic, cue, blur, rng)
    claimed = posterior(hints, blur)
    vocabulary = dict(zip(TOPIC_SLOTS, phrases(benchmark), strict=True), tone=TONES)
    for prompt, table in zip(write(benchmark, hints, rng), claimed, strict=True):
        found = _read(prompt, benchmark, vocabulary)
        joint = np.zeros((N_SUBTOPICS, N_CUES))
        for c, level in itertools.product(range(N_SUBTOPICS), range(N_CUES)):
            likelihood = (1 - blur) * (len(found["steps"]) == level + 1) + blur / N_CUES
            for slot, groups in vocabulary.items():
                true_group = groups[level if slot == "tone" else c]
                everything = [word for group in groups for word in group]
                own = (found[slot] in true_group) / len(true_group)
                likelihood *= (1 - blur) * own + blur / len(everything)
            joint[c, level] = likelihood
        np.testing.assert_allclose(table, joint / joint.sum(), rtol=1e-9)


def _read(prompt, benchmark, vocabulary):
    """The fillers of a prompt; fails unless exactly one reading exists."""
    step = "|".join(map(re.escape, benchmark.steps))
    options = {
        slot: "|".join(re.escape(word) for group in groups for word in group)
        for slot, groups in vocabulary.items()
    }
    options["steps"] = rf"(?:(?:{step})(?:, | and )?)+"
    readings = []
    for template in benchmark.templates:
        pattern = re.sub(r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{options[m[1]]})", re.escape(template))
        if match := re.fullmatch(pattern, prompt):
            readings.append(match.groupdict())
    (reading,) = readings
    return {**reading, "steps": re.findall(step, reading["steps"])}


def test_posterior_is_honest_and_uncertain():
    rng, n = np.random.default_rng(0), 40_000
    subtopic, cue = rng.integers(N_SUBTOPICS, size=n), rng.integers(N_CUES, size=n)
    blur = Planted().blur
    belief = posterior(draw_hints(subtopic, cue, blur, rng), blur)
    np.testing.assert_allclose(belief.sum(axis=(1, 2)), 1)
    gap = belief[np.arange(n), subtopic, cue] - (belief**2).sum(axis=(1, 2))  # mean 0 if calibrated
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(n)
    assert 0.3 < belief.max(axis=(1, 2)).mean() < 0.95
    assert 0.3 < belief.sum(axis=2).max(axis=1).mean() < 0.98
    assert 0.3 < belief.sum(axis=1).max(axis=1).mean() < 0.95


def test_without_interaction_topics_tell_nothing():
    table = simulate(n_models=24, n_questions=400, kappa=0)
    np.testing.assert_array_equal(table.references[TEXT], table.references[ADDITIVE])


def test_router_null_has_no_routing_gain():
    table = simulate(
        n_models=40, n_questions=800, kappa=0, alpha_mean=0, alpha_spread=0, format_failures=False
    )
    truth = table.references[TRUE]
    best = truth.mean(axis=1).argmax()
    np.testing.assert_allclose(truth[best], truth.max(axis=0), rtol=1e-6)


def test_useless_text_null_leaves_a_constant_per_model():
    table = simulate(n_models=24, n_questions=400, rho_d=0, rho_z=0, benchmark_in_text=False)
    text = table.references[TEXT]
    assert np.ptp(text, axis=1).max() < 1e-6
    assert np.ptp(text[:, 0]) > 0.1
    assert text.mean() == pytest.approx(table.references[TRUE].mean(), abs=0.04)  # 400 questions


def test_recovery_mode_is_determined_by_the_cell():
    table = simulate(n_models=24, n_questions=2000, blur=0, rho_d=1, rho_z=1, alpha_mean=0, alpha_spread=0,
                     guessing=False, format_failures=False)
    np.testing.assert_allclose(table.references[TEXT], table.references[TRUE], rtol=1e-5)
    cells = table.questions.groupby(["benchmark", "subtopic", "difficulty_cue"]).ngroup()
    truth = pd.DataFrame(table.references[TRUE].T.astype(np.float64))
    logit = np.log(truth / (1 - truth)).groupby(cells.to_numpy()).mean().to_numpy()
    singular = np.linalg.svd(logit, compute_uv=False)
    assert singular[8] < 1e-3 * singular[7]  # ability, difficulty and six tastes: rank 8


def test_family_effects_stay_where_size_and_specialty_do_not_matter():
    kinds, families = [], []
    for seed in range(6):
        models = draw_models(112, np.random.default_rng(seed))
        setting = Planted(beta=0, specialty=0)
        taste = draw_traits(models, setting, np.random.default_rng(seed)).taste[:, 0]
        for column, values in (("kind", kinds), ("family", families)):
            group_means = pd.DataFrame(taste).groupby(models[column].to_numpy()).transform("mean")
            values.append(group_means.to_numpy().var(axis=0).mean())
    assert np.mean(families) > 0.35 and np.mean(kinds) < 0.12


def test_redrawn_benchmark_cannot_be_forecast_from_the_others():
    def correlation(seed, redrawn):
        table = simulate(n_models=64, n_questions=600, data_seed=seed, redrawn_benchmark=redrawn,
                         format_failures=False)
        there = (table.questions["benchmark"] == "medicine").to_numpy()
        truth = table.references[TRUE]
        return np.corrcoef(truth[:, there].mean(axis=1), truth[:, ~there].mean(axis=1))[0, 1]

    assert abs(np.mean([correlation(seed, "medicine") for seed in range(16)])) < 0.15
    assert np.mean([correlation(seed, None) for seed in range(4)]) > 0.5


# flaws of real tables, planted


def test_graded_scores_have_the_true_probability_as_their_mean():
    graded, plain = (simulate(n_models=24, n_questions=2000, graded=choice) for choice in (True, False))
    truth = graded.references[TRUE].astype(np.float64)
    np.testing.assert_array_equal(graded.references[TEXT], plain.references[TEXT])
    assert ((graded.scores > 0) & (graded.scores < 1)).mean() > 0.9
    z = (graded.scores - truth).sum() / np.sqrt((truth * (1 - truth) / 3).sum())
    assert abs(z) < 4
    assert ((graded.scores - truth) ** 2).sum() == pytest.approx((truth * (1 - truth) / 3).sum(), rel=0.03)


def test_blocks_go_missing_where_models_do_badly():
    whole, table = (simulate(n_models=40, n_questions=2000, missing=share) for share in (0.0, 0.3))
    assert (whole.observed).all()
    blocks = pd.DataFrame(table.observed.T).groupby(table.questions["benchmark"].to_numpy()).mean()
    assert set(np.unique(blocks)) == {0.0, 1.0}, "whole benchmarks or nothing"
    assert (blocks == 0).mean(axis=None) == pytest.approx(0.3, abs=0.005)
    assert blocks.sum(axis=0).min() >= 2 and blocks.sum(axis=1).min() >= 2
    truth = table.references[TRUE]
    np.testing.assert_array_equal(truth, whole.references[TRUE])
    assert truth[table.observed].mean() > truth[~table.observed].mean() + 0.1
    np.testing.assert_array_equal(table.scores[table.observed], whole.scores[table.observed])


def test_each_rule_for_repeated_cells_has_its_known_bias():
    """A second draw disagrees at rate 2 pi (1 - pi); the maximum of both gains pi (1 - pi), other rules nothing."""
    tables = {rule: simulate(n_models=40, n_questions=2000, repeated=0.5, duplicates=rule)
              for rule in ("first", "mean", "max", "majority")}
    first = tables["first"]
    assert len(first.repeats) == 40 * 2000
    pairs = first.repeats["score"].to_numpy().reshape(-1, 2)
    row = first.models.index.get_indexer(first.repeats["model"][::2])
    column = first.questions.index.get_indexer(first.repeats["question_id"][::2])
    truth = first.references[TRUE].astype(np.float64)[row, column]
    luck = truth * (1 - truth)
    assert (pairs[:, 0] != pairs[:, 1]).mean() == pytest.approx(2 * luck.mean(), rel=0.02)
    for rule, gain in {"first": 0, "mean": 0, "majority": 0, "max": luck.mean()}.items():
        error = (tables[rule].scores[row, column] - truth).mean() - gain
        assert abs(error) < 4 * np.sqrt(luck.mean() / len(truth)), rule
    np.testing.assert_array_equal(first.scores, simulate(n_models=40, n_questions=2000).scores)
    np.testing.assert_array_equal(first.scores, tables["majority"].scores)  # two runs: a tie goes to the first


def test_settings_share_their_draws():
    plain, other = (simulate(n_models=24, n_questions=400, redrawn_benchmark=b) for b in (None, "logic"))
    kept = (plain.questions["benchmark"] != "logic").to_numpy()
    pd.testing.assert_frame_equal(plain.questions, other.questions)
    np.testing.assert_array_equal(plain.scores[:, kept], other.scores[:, kept])
    assert (plain.references[TRUE] != other.references[TRUE])[:, ~kept].any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rho_d": 1.2}, r"rho_d must lie in \[0, 1\], found 1.2"),
        ({"sigma": -1}, "sigma must not be negative"),
        ({"kappa": float("nan")}, "kappa must not be negative, found nan"),
        ({"redrawn_benchmark": "chess"}, "'chess' is none of sums, "),
        ({"n_models": 3}, "at least 8 models"),
        ({"missing": 1.0}, r"missing must lie in \[0, 1\)"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        simulate(**parameters)


def test_unknown_parameter_is_refused():
    with pytest.raises(TypeError, match="kapa"):
        simulate(kapa=1)
