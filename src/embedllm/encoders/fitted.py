"""Prompt vectors without a pretrained encoder: counted in the text, fitted to training prompts, or told by a label.

Each function takes texts (or labels) of all questions and which of them train, and gives float32 vectors of all, whose
mean square norm over the training questions is 1, that of a sentence encoder's vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from embedllm.encoders.encoding import unit

DIM = 256  # of what is reduced; fewer where the training questions span less
OPTION = re.compile(r"^\s*\(?[A-J][.):]", re.MULTILINE)  # a lettered option at the beginning of a line
CODE = re.compile(r"[{};]|==|\bdef\b|\bint\b|\breturn\b")
MATH = re.compile(r"\\[a-zA-Z]+|\$|\^")


def tfidf(texts: Sequence[str], train: np.ndarray, dim: int = DIM) -> np.ndarray:
    """Latent semantic analysis: weighted counts of words and pairs of words, reduced to few dimensions.

    Vocabulary, weights and directions are those of the training prompts (Deerwester et al. 1990, Journal of the
    American Society for Information Science 41).

    Parameters
    ----------
    texts : sequence of str, length n_questions
    train : ndarray of bool, shape (n_questions,)
    dim : int

    Returns
    -------
    ndarray, shape (n_questions, dim), float32
        Rows of norm 1; 0 where no word of a text occurs in two training prompts.
    """
    return counter(np.asarray(texts, dtype=object)[train], dim)(texts)


def counter(texts: Sequence[str], dim: int = DIM) -> Callable[[Sequence[str]], np.ndarray]:
    """What `tfidf` learns of training prompts: a function from texts to vectors."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32)
    learned = counts.fit_transform(texts)
    svd = TruncatedSVD(min(dim, *(side - 1 for side in learned.shape)), n_iter=2, random_state=0).fit(learned)
    weights = np.ascontiguousarray(svd.components_.T)  # a single text takes fifty times as long without
    return lambda texts: unit(counts.transform(texts) @ weights).astype(np.float32)


FEATURES = {  # of a text, what an encoder is not needed for
    "letters, log": lambda text: np.log1p(len(text)),
    "words, log": lambda text: np.log1p(len(text.split())),
    "lines, log": lambda text: np.log1p(text.count("\n")),
    "letters per word": lambda text: len(text) / (len(text.split()) + 1),
    "share of digits": lambda text: _share(text, str.isdigit),
    "share of capitals": lambda text: _share(text, str.isupper),
    "share of signs": lambda text: _share(text, lambda letter: not (letter.isalnum() or letter.isspace())),
    "numbers, log": lambda text: np.log1p(len(re.findall(r"\d+", text))),
    "options": lambda text: len(OPTION.findall(text)),
    "signs of code, log": lambda text: np.log1p(len(CODE.findall(text))),
    "signs of formulas, log": lambda text: np.log1p(len(MATH.findall(text))),
    "question marks": lambda text: min(text.count("?"), 3),
    "blanks to fill": lambda text: float("__" in text),
}


def measured(texts: Sequence[str]) -> np.ndarray:
    """`FEATURES` of each text: (n_questions, len(FEATURES)), float64."""
    return np.array([[measure(text) for measure in FEATURES.values()] for text in texts], dtype=np.float64)


def features(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Length, digits, code, formulas, options and format of each prompt, in standard deviations of the training ones.

    Parameters
    ----------
    values : ndarray
        From `measured`.

    Returns
    -------
    ndarray, shape (n_questions, len(FEATURES)), float32
    """
    spread = values[train].std(axis=0)
    return _scaled((values - values[train].mean(axis=0)) / np.where(spread > 0, spread, 1), train)


def without_options(prompts: Sequence[str]) -> list[str]:
    """Prompts up to their first lettered option; one that begins with an option, or has none, stays as it is."""
    return [prompt[: found.start()].rstrip() or prompt if (found := OPTION.search(prompt)) else prompt
            for prompt in prompts]


def one_hot(labels: Sequence[str], train: np.ndarray) -> np.ndarray:
    """Which label a question has: what a forecast can know that does not read the text. Unknown to training: 0.

    Returns
    -------
    ndarray, shape (n_questions, n_labels of the training questions), float32
    """
    labels = np.asarray(labels, dtype=object)
    return (labels[:, None] == np.unique(labels[train].astype(str)).astype(object)).astype(np.float32)


def reduced(vectors: np.ndarray, train: np.ndarray, dim: int) -> np.ndarray:
    """The leading principal components of the training vectors; fewer where there are fewer.

    Returns
    -------
    ndarray, shape (n_questions, at most dim), float32
    """
    center = vectors[train].mean(axis=0, dtype=np.float64)
    size, axes = np.linalg.eigh(np.cov(vectors[train].T, dtype=np.float64).reshape(vectors.shape[1], -1))
    kept = np.argsort(size)[::-1][:dim]
    kept = kept[size[kept] > 1e-9 * size.max()] if size.max() > 0 else kept[:1]
    return _scaled((vectors - center) @ axes[:, kept], train)


def _share(text: str, is_one) -> float:
    return sum(map(is_one, text)) / (len(text) + 1)


def _scaled(vectors: np.ndarray, train: np.ndarray) -> np.ndarray:
    """With a mean square norm of 1 over the training questions."""
    size = np.sqrt((vectors[train] ** 2).sum(axis=1).mean())
    return (vectors / (size or 1.0)).astype(np.float32)
