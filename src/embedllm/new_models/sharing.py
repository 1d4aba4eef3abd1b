"""What the models of a pool share, and how they spread: the prior of a new one (`onboarding`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from embedllm.forecasters.completion import question_effects
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.new_models.onboarding import Shared
from embedllm.outcomes import OutcomeMatrix, suites

MOST = 24  # coordinates of a new model, the level aside
LEAST = 1e-3  # SD over models, in logits, below which a coordinate or a deviation tells nothing
ROUNDS = 8  # of EM: enough for how easy questions are; how sharply they tell models apart still moves a little
FEW = 4  # relatives beyond the first of a lineage, over all lineages, that tell as much as a guess
SIZED = 8  # lineages of known size from which their sizes tell something


def shared_parts(
    embedding: ConvexEmbedding, table: OutcomeMatrix, vectors: np.ndarray, lineages: Sequence[str] | None = None,
    answered: bool = True, labelled: bool = True, most: int = MOST,
) -> Shared:
    """What a pool's models share, and how they spread.

    Parameters
    ----------
    embedding : ConvexEmbedding
        Fitted to answers of the pool.
    table : OutcomeMatrix
        Answers of the same models, in the same order; its questions are those that new models can be asked.
    vectors : ndarray, shape (n_questions, d_prompt)
    lineages : sequence of str, optional
        Of the models: in how they spread a lineage counts once (for questions each model does). Default: each is its
        own.
    answered : bool
        How easy a question is, and how sharply it tells abilities apart, is told by the pool's answers as well, not by
        its text alone.
    labelled : bool
        Models deviate along ease and on groups of questions: benchmarks are read as well, and not the text alone.
    most : int
        Coordinates of a new model beside its level.
    """
    lineages = table.models.index if lineages is None else lineages
    points, coordinates = embedding.model_vectors, embedding.question_vectors(vectors)
    _, of, many = np.unique(np.asarray(lineages, str), return_inverse=True, return_counts=True)
    weights = 1 / many[of] / len(many)
    mean = weights @ points
    kept = np.flatnonzero(np.sqrt(weights @ (points - mean) ** 2) > LEAST)
    kept = np.concatenate([[0], kept[kept > 0][:most]])
    points, mean = points[:, kept], mean[kept]
    x = np.column_stack([np.ones(len(vectors)), coordinates[:, kept[1:]]])
    residual = points - mean
    n = max(len(many), 2)
    covariance = (n + 1) / (n - 1) * (residual * weights[:, None]).T @ residual  # of one more, its mean being estimated
    covariance += LEAST**2 * np.eye(len(mean))  # fewer lineages than coordinates lie in a plane
    within = within_lineages(points, of, many, covariance)
    by_size, sizes, given_size = along_size(residual, _log_sizes(table), of, covariance)
    offset, doubt = coordinates[:, 0] + x @ mean, np.zeros(len(x))
    if answered:
        shift, sharper, doubt, wider = _items(table.scores, offset, residual @ x.T, residual[:, 0])
        x, offset = x * wider, offset + shift
        x[:, 0] += sharper
    root = np.linalg.cholesky(covariance)
    design = x @ root
    if labelled:  # around the level alone: the pool's coordinates come from these very answers, a new model's do not
        design = np.hstack([design, deviations(table, offset + np.outer(residual[:, 0], x[:, 0]))])
    return Shared(design, offset, doubt, mean, root, kept, within, by_size, sizes, given_size)


def within_lineages(points: np.ndarray, of: np.ndarray, many: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Covariance among models of one lineage; NaN where no lineage has two models.

    Lineages with two models and more count alike. Where they are few, half of the total is taken to be within them. No
    direction has more within lineages than in total.

    Parameters
    ----------
    points : ndarray, shape (n_models, n)
    of : ndarray of int, shape (n_models,)
        The lineage of each.
    many : ndarray of int, shape (n_lineages,)
        Models of each.
    total : ndarray, shape (n, n)
        Covariance among all models.
    """
    some, n = np.flatnonzero(many > 1), len(total)
    if not len(some):
        return np.full((n, n), np.nan)
    found = np.mean([np.cov(points[of == one].T).reshape(n, n) for one in some], axis=0)
    further = (many[some] - 1).sum()  # beyond the first of each lineage
    found = (further * found + FEW * total / 2) / (further + FEW)
    root = np.linalg.cholesky(total)
    shares, axes = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, found).T))
    return root @ (axes * shares.clip(0, 1)) @ axes.T @ root.T


def along_size(
    residual: np.ndarray, sizes: np.ndarray, of: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How coordinates go along with size, by least squares in which a lineage counts once, and what that leaves open.

    Parameters
    ----------
    residual : ndarray, shape (n_models, n)
        Coordinates around their mean.
    sizes : ndarray, shape (n_models,)
        Logarithms; NaN where not known.
    of : ndarray of int, shape (n_models,)
        The lineage of each.
    total : ndarray, shape (n, n)
        Covariance among all models.

    Returns
    -------
    by_size, sizes, given_size
        See `onboarding.Shared`; sizes are none for fewer than `SIZED` lineages of known size, where all are one, and
        where size leaves levels as open, on average, as they are without it.
    """
    known, nothing = np.isfinite(sizes), (np.zeros((2, len(total))), np.zeros(0), total)
    _, own, many = np.unique(of[known], return_inverse=True, return_counts=True)
    if len(many) < SIZED or not np.ptp(sizes[known]):
        return nothing
    weights, n = 1 / many[own], len(many)
    lineages = np.bincount(own, weights * sizes[known])
    design = np.column_stack([np.ones(len(own)), sizes[known] - lineages.mean()]) * np.sqrt(weights)[:, None]
    by_size, *_ = np.linalg.lstsq(design, residual[known] * np.sqrt(weights)[:, None])
    left = residual[known] * np.sqrt(weights)[:, None] - design @ by_size
    given = left.T @ left / (n - 2) + LEAST**2 * np.eye(len(total))
    return (by_size, lineages, given) if (1 + 2 / n) * given[0, 0] < total[0, 0] else nothing


def _log_sizes(table: OutcomeMatrix) -> np.ndarray:
    found = table.models.get("parameters_b")
    return np.full(len(table.models), np.nan) if found is None else np.log(found.to_numpy(float))


def _items(
    scores: np.ndarray, offset: np.ndarray, apart: np.ndarray, ability: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """By how much a question is easier, and tells abilities apart better, than its text says; variance of the first.

    From the pool's answers, both drawn towards zero by as much as they are found to vary over questions (EM with
    Laplace's approximation: the variance is that of the most likely effects and what is left open of each). And by how
    much wider all models lie apart, ``apart`` (n_models, n_questions) by the text, once it is known how easy a question
    is: what a text leaves open about a question brings forecasts, and so models, closer to each other.
    """
    observed, wider = ~np.isnan(scores), 1.0
    design = np.column_stack([np.ones(len(ability)), ability])
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, 4)

    def residuals(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = expit(logits)
        return np.where(observed, np.nan_to_num(scores) - p, 0), np.where(observed, p * (1 - p), 0)

    rest, chance = residuals(offset + apart)
    spread = np.array([_spread(rest.T @ own, chance.T @ own**2) for own in design.T])
    if spread[0] <= LEAST**2:
        return *np.zeros((3, len(offset))), wider
    for _ in range(ROUNDS):
        logits, precision = offset + wider * apart, 1 / np.maximum(spread, LEAST**2)
        effects = question_effects(scores, logits, design, precision)
        rest, chance = residuals(logits + design @ effects.T)
        left = np.linalg.inv((chance.T @ products).reshape(-1, 2, 2) + np.diag(precision))
        spread = (effects**2 + np.diagonal(left, axis1=1, axis2=2)).mean(axis=0)
        wider += float((rest * apart).sum() / max((chance * apart**2).sum(), 1e-300))
    return *effects.T, left[:, 0, 0], wider


def _spread(rest: np.ndarray, chance: np.ndarray) -> float:
    """Variance of effects in logits, by the method of moments, from sums of residuals and what chance makes of them."""
    known = chance > 0
    return max(0.0, float(((rest**2 - chance)[known] / chance[known]).sum() / max(chance[known].sum(), 1e-9)))


def deviations(table: OutcomeMatrix, logits: np.ndarray) -> np.ndarray:
    """What models deviate by: along ease, on all questions, on each suite and on each benchmark.

    Columns are as high as the SD of that. What is shared by groups of questions is found from products of residuals in
    different ones, which chance does not bring about. How much better models do on easy than on hard questions is taken
    around the mean of the pool's, who told how easy questions are.

    Parameters
    ----------
    logits : ndarray, shape (n_models, n_questions)
        From which models deviate.

    Returns
    -------
    ndarray, shape (n_questions, n), float64
        Zero outside what a column is about; after the first without what hardly varies.
    """
    observed, p = table.observed, expit(logits)
    chance, rest = np.where(observed, p * (1 - p), 0), np.where(observed, np.nan_to_num(table.scores) - p, 0)
    benchmark, of_benchmark = np.unique(table.questions["benchmark"].astype(str), return_inverse=True)
    _, first = np.unique(of_benchmark, return_index=True)
    suite, of_suite = np.unique(suites(table).astype(str).to_numpy()[first], return_inverse=True)  # of each benchmark
    sums, weights = (values @ np.eye(len(benchmark))[of_benchmark] for values in (rest, chance))  # (n_models, n)
    by_suite = np.eye(len(suite))[of_suite]
    apart = by_suite if len(suite) > 1 else np.eye(len(benchmark))
    everywhere = _in_common(sums @ apart, weights @ apart)
    within = np.array([_in_common(sums[:, own], weights[:, own]) for own in by_suite.T.astype(bool)])
    within = np.maximum(within - everywhere, 0) if len(suite) > 1 else np.zeros(1)
    alone = np.array([_spread(*both) for both in zip(sums.T, weights.T, strict=True)])
    alone = np.maximum(alone - everywhere - within[of_suite], 0)
    ease = logits.mean(axis=0) - logits.mean()
    inside = (chance * ease) @ np.eye(len(benchmark))[of_benchmark] / np.maximum(weights, 1e-300)
    apart = ease - inside[:, of_benchmark]  # within benchmarks, on which models deviate anyway
    slope, weight = (rest * apart).sum(axis=1), (chance * apart**2).sum(axis=1)
    steep = _spread(slope - slope.sum() / max(weight.sum(), 1e-300) * weight, weight)
    columns = np.column_stack([np.ones(len(benchmark)), by_suite, np.eye(len(benchmark))])[of_benchmark]
    columns, spread = np.column_stack([ease, columns]), np.concatenate([[steep], [everywhere], within, alone])
    kept = spread > LEAST**2
    kept[0] = True
    return (columns * np.sqrt(spread))[:, kept]


def _in_common(rest: np.ndarray, chance: np.ndarray) -> float:
    """Variance of what groups of questions have in common, in logits, from sums of each: (n_models, n_groups)."""
    products, weight = (((own.sum(axis=1) ** 2) - (own**2).sum(axis=1)).sum() for own in (rest, chance))
    return max(0.0, float(products / weight)) if weight > 0 else 0.0
