"""Where the models lie: coordinates and distances that do not depend on the factorization's latent basis, and a map.

A fitted factorization says ``logit P(m answers e) = w . (p_m * (A e + b)) + c``. Only the product is
identified: any invertible map of the latent space gives the same forecasts from other vectors ``p_m``.
What is identified are the logit coefficients ``beta_m = A' (w * p_m)`` and the intercept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform

FEWEST_TO_PLOT = 8  # models; below, a t-SNE says nothing


def identified_coordinates(
    betas: np.ndarray, intercepts: np.ndarray, prompt_vectors: np.ndarray, n_components: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of models that do not depend on the factorization's arbitrary latent basis.

    Column 0 is the general level: the logit at the mean prompt vector. The others are the principal
    components over models of ``beta Sigma^(1/2)``, Sigma the covariance of the prompt vectors: what
    remains of the logit table once the mean of every model and of every question is removed.

    Parameters
    ----------
    betas : ndarray, shape (n_models, d_prompt), float
        Logit coefficients of each model.
    intercepts : ndarray, shape (n_models,), float
        Logit of each model at the zero prompt vector.
    prompt_vectors : ndarray, shape (n_questions, d_prompt), float
        The questions that define mean and covariance; take training questions.
    n_components : int
        From 1 to min(n_models - 1, d_prompt, n_questions - 1).

    Returns
    -------
    coordinates : ndarray, shape (n_models, 1 + n_components), float64
        In logits; components ordered by variance, the largest entry of each is positive.
    shares : ndarray, shape (n_components,), float64
        Share of the components' total variance that each explains.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite or `n_components` is out of range.
    """
    profiles = _logit_profiles(betas, prompt_vectors)
    if np.shape(intercepts) != (len(profiles),):
        raise ValueError(f"intercepts have shape {np.shape(intercepts)}, expected ({len(profiles)},)")
    largest = min(len(profiles) - 1, np.shape(betas)[1], len(prompt_vectors) - 1)
    if not 1 <= n_components <= largest:
        raise ValueError(f"n_components is {n_components}; this pool allows 1 to {largest}")
    components = principal(profiles, n_components)
    level = np.asarray(intercepts, float) + np.asarray(betas, float) @ np.mean(prompt_vectors, 0, float)
    shares = (components**2).sum(axis=0) / ((profiles - profiles.mean(axis=0)) ** 2).sum()
    return np.column_stack([level, components]), shares


def principal(points: np.ndarray, n_components: int) -> np.ndarray:
    """Scores on the leading principal components, (n_points, at most n_components); the largest entry is positive."""
    left, size, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    scores = left[:, :n_components] * size[:n_components]
    largest = np.abs(scores).argmax(axis=0)
    return scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1, 1)


def distances_without_level(betas: np.ndarray, prompt_vectors: np.ndarray) -> np.ndarray:
    """Distances between models that do not depend on the factorization's arbitrary latent basis.

    ``d(m, m')^2 = (beta_m - beta_m')' Sigma (beta_m - beta_m')``: the standard deviation over questions
    of the difference between two models' logits. A constant difference in ability does not count.

    Parameters
    ----------
    betas : ndarray, shape (n_models, d_prompt), float
    prompt_vectors : ndarray, shape (n_questions, d_prompt), float

    Returns
    -------
    ndarray, shape (n_models, n_models), float64
        In logits; symmetric, zero diagonal.

    Raises
    ------
    ValueError
        If shapes disagree or a value is not finite.
    """
    return squareform(pdist(_logit_profiles(betas, prompt_vectors)))


def distances_with_level(betas: np.ndarray, intercepts: np.ndarray, prompt_vectors: np.ndarray) -> np.ndarray:
    """The same with ability: the root mean square difference of two models' logits over the questions.

    Takes what `identified_coordinates` takes; returns shape (n_models, n_models), float64.
    """
    level = np.asarray(intercepts, float) + np.asarray(betas, float) @ np.mean(prompt_vectors, 0, float)
    return np.hypot(distances_without_level(betas, prompt_vectors), np.abs(level[:, None] - level))


def raw_distances(model_vectors: np.ndarray) -> np.ndarray:
    """Euclidean distances between model vectors, as the paper measures them (not identified).

    Takes shape (n_models, dim), returns shape (n_models, n_models), float64.
    """
    return squareform(pdist(np.asarray(model_vectors, float)))


def maps(coordinates: np.ndarray, perplexities: Sequence[float], seeds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Maps of the models in two dimensions, and how far each can be trusted.

    The first is that of the two leading principal components, the others are t-SNE (van der Maaten and Hinton 2008).

    Parameters
    ----------
    coordinates : ndarray, shape (n_models, n_coordinates), float
        At least 8 models and 2 coordinates.

    Returns
    -------
    dict
        *places*: ``map`` ("PCA", "t-SNE, perplexity 10, seed 0", ...), ``x``, ``y``; in each map one row per model.
        *trust*: a row a map, with 5 neighbors, or fewer where the pool is small: ``trustworthiness`` (penalty for
        neighbors in the map that are none in the coordinates) and ``continuity`` (for those that are torn apart),
        about 0.5 for a random map (Venna and Kaski 2001); ``overlap``, the share of neighbors that are the same.

    Raises
    ------
    ValueError
        If there are too few models or coordinates.
    """
    from sklearn.manifold import TSNE, trustworthiness

    coordinates = np.asarray(coordinates, float)
    n_models, n_coordinates = coordinates.shape
    if n_models < FEWEST_TO_PLOT or n_coordinates < 2:
        raise ValueError(
            f"a map needs {FEWEST_TO_PLOT} models and 2 coordinates, found {n_models} and {n_coordinates}"
        )
    found = {"PCA": principal(coordinates, 2)}
    for perplexity in dict.fromkeys(min(one, (n_models - 1) // 3) for one in perplexities):
        for seed in seeds:
            # The exact method is quick at some hundred models and does not depend on the number of threads.
            method = TSNE(perplexity=perplexity, init="random" if seed else "pca", method="exact", random_state=seed)
            found[f"t-SNE, perplexity {perplexity:g}, seed {seed}"] = method.fit_transform(coordinates)
    k, rows = min(5, (n_models - 1) // 2), []
    for name, flat in found.items():
        here, there = (_nearest(one, k) for one in (coordinates, flat))
        rows.append((name, trustworthiness(coordinates, flat, n_neighbors=k),
                     trustworthiness(flat, coordinates, n_neighbors=k), (here & there).sum() / here.sum()))
    places = pd.concat([pd.DataFrame(flat, columns=["x", "y"]).assign(map=name) for name, flat in found.items()])
    return {"places": places, "trust": pd.DataFrame(rows, columns=["map", "trustworthiness", "continuity", "overlap"])}


def _nearest(points: np.ndarray, k: int) -> np.ndarray:
    """Which are the k nearest neighbors of each point: bool, (n_points, n_points)."""
    distances = squareform(pdist(points))
    np.fill_diagonal(distances, np.inf)
    found = np.zeros(distances.shape, bool)
    np.put_along_axis(found, np.argsort(distances, axis=1, kind="stable")[:, :k], True, axis=1)
    return found


def _logit_profiles(betas: np.ndarray, prompt_vectors: np.ndarray) -> np.ndarray:
    """Each model's logits around their mean, over sqrt(n_questions): (n_models, n_questions), float64.

    Their Gram matrix is beta Sigma beta'; so no d_prompt x d_prompt matrix is needed.
    """
    betas, prompts = np.asarray(betas, float), np.asarray(prompt_vectors, float)
    if betas.ndim != 2 or prompts.ndim != 2 or betas.shape[1] != prompts.shape[1]:
        raise ValueError(f"betas {betas.shape} and prompt vectors {prompts.shape} must share their last axis")
    if not (np.isfinite(betas).all() and np.isfinite(prompts).all()):
        raise ValueError("betas and prompt vectors must be finite")
    return betas @ (prompts - prompts.mean(axis=0)).T / np.sqrt(len(prompts))
