"""What the models of a pool share, and how they spread: the prior of a new one (`onboarding`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from embedllm.forecasters.completion import question_effects
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.new_models.onboarding import Shared
from embedllm.new_models.places import LEAST, along_size, log_sizes, within_lineages
from embedllm.outcomes import OutcomeMatrix, suites
from embedllm.splits import folds

MOST = 24  # coordinates of a new model, the level aside
ROUNDS = 8  # of EM: enough for how easy questions are; how sharply they tell models apart still moves a little
N_FOLDS = 3  # of questions, in `out_of_sample`; five tell no better


def shared_parts(
    embedding: ConvexEmbedding, table: OutcomeMatrix, vectors: np.ndarray, lineages: Sequence[str] | None = None,
    coordinates: np.ndarray | None = None, *, answered: bool = True, labeled: bool = True, most: int = MOST,
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
    coordinates : ndarray, shape (n_questions, dim), optional
        Of the questions; default: `ConvexEmbedding.question_vectors`. What new models answer there tells of others
        that nobody has answered only if they are those of `out_of_sample`.
    answered : bool
        How easy a question is, and how sharply it tells abilities apart, is told by the pool's answers as well, not by
        its text alone.
    labeled : bool
        Models deviate along ease and on groups of questions: benchmarks are read as well, and not the text alone.
    most : int
        Coordinates of a new model beside its level.
    """
    lineages = table.models.index if lineages is None else lineages
    points = embedding.model_vectors
    coordinates = embedding.question_vectors(vectors) if coordinates is None else coordinates
    _, of, many = np.unique(np.asarray(lineages, str), return_inverse=True, return_counts=True)
    weights = 1 / many[of] / len(many)
    mean = weights @ points
    used = np.sqrt(weights @ (points - mean) ** 2) > LEAST
    used[0] = True
    used &= np.cumsum(used) <= most + 1
    points, mean = points[:, used], mean[used]
    x = np.column_stack([np.ones(len(vectors)), coordinates[:, used][:, 1:]])
    residual = points - mean
    n = max(len(many), 2)
    covariance = (n + 1) / (n - 1) * (residual * weights[:, None]).T @ residual  # of one more, its mean being estimated
    covariance += LEAST**2 * np.eye(len(mean))  # fewer lineages than coordinates lie in a plane
    within = within_lineages(points, of, many, covariance)
    by_size, sizes, given_size = along_size(residual, log_sizes(table), of, covariance)
    offset, doubt = coordinates[:, 0] + x @ mean, np.zeros(len(x))
    if answered:
        shift, sharper, doubt, wider = _items(table.scores, offset, residual @ x.T, residual[:, 0])
        x, offset = x * wider, offset + shift
        x[:, 0] += sharper
    root = np.linalg.cholesky(covariance)
    design = x @ root
    if labeled:  # around the level alone: the pool's coordinates come from these very answers, a new model's do not
        design = np.hstack([design, deviations(table, offset + np.outer(residual[:, 0], x[:, 0]))])
    return Shared(design, offset, doubt, mean, root, used, within, by_size, sizes, given_size)


def out_of_sample(embedding: ConvexEmbedding, table: OutcomeMatrix, vectors: np.ndarray) -> np.ndarray:
    """Question vectors as an embedding tells them of questions that it was not fitted to.

    What text leaves open about its own questions an embedding remembers, the more so the more numbers a prompt vector
    has: answers to them show a new model's place along that, which tells nothing of other questions. So each third is
    told by an embedding of the others, with the same penalties; what sets models apart there is put into this
    embedding's coordinates by least squares.

    Parameters
    ----------
    embedding : ConvexEmbedding
    table : OutcomeMatrix
        Answers of the same models, in the same order.
    vectors : ndarray, shape (n_questions, d_prompt)

    Returns
    -------
    ndarray, shape (n_questions, dim), float64
        Of questions that no model has answered those of the embedding itself.
    """
    found, answered = embedding.question_vectors(vectors), table.observed.any(axis=0)
    fold = np.full(len(vectors), N_FOLDS)
    fold[answered] = folds(table.at(answered), N_FOLDS)
    shared, own = embedding.penalties
    apart = np.column_stack([np.ones(len(table.models)), embedding.model_vectors[:, 1:]])
    for number in range(N_FOLDS):
        rest, judged = answered & (fold != number), fold == number
        if not (rest.any() and judged.any()):  # a handful of questions
            continue
        others = table.at(rest), vectors[rest]
        one = ConvexEmbedding(shared=(shared,), own=(own,)).fit(*others, *others)
        told = one.question_vectors(vectors[judged])
        logits = told[:, 0] + one.model_vectors[:, 1:] @ told[:, 1:].T
        found[judged] = np.linalg.lstsq(apart, logits)[0].T
    return found


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
