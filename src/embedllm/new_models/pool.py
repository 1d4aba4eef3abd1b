"""A pool of models that new ones join with a few answers: fitted once, kept in one file, asked what to run next."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, nan
from numbers import Real
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.lineages import lineages
from embedllm.new_models.choice import mixed, stratified
from embedllm.new_models.onboarding import Shared, averaged, groups_of, onboard, person_fit
from embedllm.new_models.places import nearest
from embedllm.new_models.sharing import out_of_sample, shared_parts
from embedllm.outcomes import OutcomeMatrix, abbreviate, replace_unchecked
from embedllm.splits import cut, folds

ODD, ENOUGH = -3.0, 20  # person fit below which a model is unlike the pool; answers from which it is judged


class Added(NamedTuple):
    """What a few answers tell of a new model.

    Attributes
    ----------
    vector : ndarray, shape (dim,), float64
        Level and coordinates as in `ConvexEmbedding.model_vectors`, in logits.
    accuracies : DataFrame
        A row for all questions ("all") and for each benchmark: ``benchmark``, ``asked`` (how many), ``value`` of the
        mean score on its questions, ``low`` and ``high`` (95 %; of a model unlike the pool what its answers leave
        possible, whatever it scores elsewhere).
    similar : DataFrame
        The closest models of the pool: ``similar``, ``distance`` in logits.
    forecasts : Series of float64, in (0, 1)
        P(right) on each question of the pool, by its id; what is not known of the model is averaged over. NaN of a
        model unlike the pool.
    person_fit : float
        See `onboarding.person_fit`, relatives and size aside; below -3, from 20 answers on, the model is unlike the
        pool, and forecasts of it are not to be trusted.
    """

    vector: np.ndarray
    accuracies: pd.DataFrame
    similar: pd.DataFrame
    forecasts: pd.Series
    person_fit: float

    @property
    def judged(self) -> str:
        """Whether the model answers unlike the pool, in words."""
        if self.accuracies["asked"][0] < ENOUGH:
            return "too few answers to tell"
        return f"{'' if self.odd else 'not found '}unlike the pool"

    @property
    def odd(self) -> bool:
        """Whether the model answers unlike the pool."""
        return self.person_fit < ODD and self.accuracies["asked"][0] >= ENOUGH


@dataclass
class Pool(Forecaster):
    """A convex embedding of a pool that takes in models which have answered some of its questions.

    `fit` as any forecaster; which models are one lineage says their column ``lineage``, else `lineages.lineages`.
    Forecasts are the embedding's, the added models last; what is not known of their vectors is averaged over.

    Attributes (after ``fit``)
    --------------------------
    question_ids, benchmarks, prompts : list of str
        Of the questions that a new model can be asked: those of training and validation.
    lineages : list of str
        Of the models; one that was added without relatives has its own name.
    fitted : int
        Models that it was fitted to, the first ones.
    spreads : ndarray, shape (n_added, n, n), float64
        Covariance of the vector of each model that joined, of the coordinates that new models have.
    """

    LEARNED: ClassVar = ("embedding", "known", "text", "question_ids", "benchmarks", "prompts", "lineages",
                         "fitted", "spreads")

    @classmethod
    def of(cls, table: OutcomeMatrix, vectors: np.ndarray) -> Pool:
        """The pool of a table: questions of the part "val", or an eighth where there are none, validate."""
        named = table.questions["part"] == "val" if "part" in table.questions else pd.Series([False])
        held_out = (named if named.any() else folds(table, 8) == 0).to_numpy()
        parts = cut(table, vectors, np.where(held_out, "val", "train"))
        return cls().fit(*parts["train"], *parts["val"])

    def shared(self, relative: str = "", parameters_b: float = nan) -> Shared:
        """What its models share on its questions, the pool's answers to them included, with a relative or of a size.

        Raises ForecasterError if the pool holds no such relative, a size is not above zero, or both are told.
        """
        return self._shared(self.known, relative, parameters_b)

    def add(
        self, name: str, answers: Mapping[str, float], relative: str = "", parameters_b: float = nan
    ) -> Added:
        """Take in a model by its answers, in milliseconds; one that answers unlike the pool is told of, and stays out.

        Parameters
        ----------
        name : str
            One that the pool does not hold.
        answers : mapping of str to float, in [0, 1]
            Question id to score; of at least one question.
        relative : str
            A model of the pool that comes from the same pretrained one: the new model is expected around all of these
            that the pool was fitted to. Blank: none or unknown.
        parameters_b : float
            Its size, in billions: it is expected where models of that size lie. NaN: unknown.

        Raises
        ------
        ForecasterError
            If the name is blank or in the pool, there are no answers, a question is unknown or has two scores, a score
            is out of its range, the pool has no such relative, a relative and a size are told, or the answers are like
            the pool's, but not like those of that size or lineage.
        """
        if not name.strip():
            raise ForecasterError("the new model has no name: give it one that the pool does not hold")
        if name in self.models:
            raise ForecasterError(f"the pool has a model {name} already: give the new one another name")
        seen = self._scores(answers)
        if np.isnan(seen).all():
            raise ForecasterError(f"{name} has no answers: ask it some of the pool's questions first")
        shared = self.shared(relative, parameters_b)
        fit, fit_told = (float(person_fit(one, seen)[0]) for one in (self.shared(), shared))
        if fit_told < ODD <= fit and (~np.isnan(seen)).sum() >= ENOUGH:
            what = f"{relative} and its relatives" if relative else f"models of {parameters_b:g} billion parameters"
            raise ForecasterError(f"{name} answers like the pool, but not like {what} (person fit {fit_told:.1f}): "
                                  f"add it without a {'relative' if relative else 'size'}")
        posterior, (names, groups) = onboard(shared, seen), groups_of(np.array(self.benchmarks))
        value, low, high = (one[0] for one in posterior.accuracies(seen, groups))
        # From the text alone, as the pool's: where answers tell how easy a question is, logits are farther apart.
        from_text = onboard(self._shared(self.text, relative, parameters_b), seen)
        [vector], root = from_text.vectors, from_text.shared.root
        [near], [apart] = nearest(self.embedding.model_vectors, from_text.vectors)
        found = Added(
            vector, pd.DataFrame({"benchmark": names, "asked": (groups & ~np.isnan(seen)).sum(axis=1), "value": value,
                                  "low": low, "high": high}),
            pd.DataFrame({"similar": np.array(self.models, dtype=object)[near], "distance": apart}),
            pd.Series(posterior.forecast()[0], self.question_ids), fit)
        if found.odd:
            for end, rest in (("low", 0), ("high", 1)):  # all others wrong, or right
                found.accuracies[end] = np.where(np.isnan(seen[0]), rest, seen[0]) @ groups.T / groups.sum(axis=1)
            return found._replace(forecasts=found.forecasts * nan)
        self.embedding.model_vectors = np.vstack([self.embedding.model_vectors, vector])
        self.spreads = np.concatenate([self.spreads, root @ from_text.covariance @ root.T])
        self.models = self.embedding.models = [*self.models, name]
        self.lineages = [*self.lineages, self.lineages[self.models.index(relative)] if relative else name]
        return found

    def ask(
        self, number: int, target: str = "", answers: Mapping[str, float] | None = None, relative: str = "",
        parameters_b: float = nan,
    ) -> pd.DataFrame:
        """What to ask a new model next, so that its mean score becomes known soon: see `choice.mixed`.

        Returns a table: ``question_id``, ``benchmark``, ``prompt``. Raises ForecasterError if the benchmark is unknown,
        the number is below one, or as `add`.

        Parameters
        ----------
        number : int
            Of questions, at least one.
        target : str
            The benchmark whose mean score is wanted; blank: that of all questions.
        answers : mapping of str to float, optional
            What it has answered already.
        relative, parameters_b
            As `add`.
        """
        labels = np.array(self.benchmarks)
        if number < 1:
            raise ForecasterError(f"{number} questions are asked for; at least one is")
        if target and target not in set(labels):
            raise ForecasterError(f"the pool has no benchmark {target}; it has {abbreviate(sorted(set(labels)), 40)}")
        seen = self._scores(answers or {})
        wanted = np.full(len(labels), True) if not target else labels == target
        posterior, order = onboard(self.shared(relative, parameters_b), seen), stratified(labels, wanted, 0)
        chosen = mixed(posterior, 0, wanted, np.isnan(seen[0]), number, order)
        return pd.DataFrame({"question_id": np.array(self.question_ids, dtype=object)[chosen],
                             "benchmark": labels[chosen],
                             "prompt": np.array(self.prompts, dtype=object)[chosen]})

    def _shared(self, found: dict, relative: str, parameters_b: float) -> Shared:
        if parameters_b <= 0 or parameters_b == inf:
            raise ForecasterError(f"a size of {parameters_b:g} billions of parameters: it must be above zero")
        if relative and parameters_b > 0:
            raise ForecasterError("a relative and a size are told: give one of them, the relative where there is one")
        if set(found) != {one.name for one in fields(Shared)} or not hasattr(self, "spreads"):
            raise ForecasterError("the pool was saved by another version: fit and save it anew (`make reproduce` does "
                                  "with those of notebook 09)")
        shared = Shared(**found)
        return shared.of_relatives(self._relatives(relative)) if relative else shared.of_size(parameters_b)

    def _relatives(self, relative: str) -> np.ndarray:
        """Vectors of the models of this one's lineage that the pool was fitted to."""
        if relative not in self.models:
            close = difflib.get_close_matches(relative, self.models, n=3, cutoff=0.3) or self.models[:3]
            raise ForecasterError(f"no model of the pool is called {relative}; did you mean {', '.join(close)}?")
        if np.isnan(self.known["within"]).any():
            raise ForecasterError("no two models of the pool come from one lineage: it cannot tell how alike relatives "
                                  "are; leave the relative away")
        own = np.array(self.lineages[: self.fitted]) == self.lineages[self.models.index(relative)]
        if not own.any():
            raise ForecasterError(f"{relative} joined by its answers, without relatives: it tells nothing of a lineage")
        return self.embedding.model_vectors[: self.fitted][own]

    def _scores(self, answers: Mapping[str, float]) -> np.ndarray:
        """One row of scores, NaN where nothing was answered."""
        place = {name: at for at, name in enumerate(self.question_ids)}
        row = np.full((1, len(place)), np.nan)
        if unknown := [str(name) for name in answers if str(name) not in place]:
            close = difflib.get_close_matches(unknown[0], self.question_ids[:5000], n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; they look like {self.question_ids[0]}"
            raise ForecasterError(f"{len(unknown)} answer(s) to questions that the pool does not hold: "
                                  f"{abbreviate(unknown)}{hint}")
        for name, score in answers.items():
            if not (isinstance(score, Real) and 0 <= score <= 1):
                raise ForecasterError(f"question {name} has the score {score!r}; scores are numbers from 0 to 1")
            at = place[str(name)]
            if not np.isnan(row[0, at]) and row[0, at] != score:
                raise ForecasterError(f"question {name} has two scores, {row[0, at]:g} and {score:g}: keep one of them")
            row[0, at] = score
        return row

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.embedding = ConvexEmbedding().fit(train, train_vectors, val, val_vectors)
        both = replace_unchecked(train, scores=np.hstack([train.scores, val.scores]), references={},
                                 questions=pd.concat([train.questions, val.questions]), repeats=train.repeats.iloc[:0])
        self.lineages = list((lineages(both) if "lineage" not in both.models else both.models["lineage"]).astype(str))
        self.fitted = len(self.lineages)
        vectors = np.concatenate([train_vectors, val_vectors])
        self.known = vars(shared_parts(self.embedding, both, vectors, self.lineages))
        unread = out_of_sample(self.embedding, both, vectors)
        self.text = vars(shared_parts(self.embedding, both, vectors, self.lineages, unread, answered=False,
                                      labeled=False))
        self.spreads = np.zeros((0, *self.text["root"].shape))
        self.question_ids = list(both.questions.index.astype(str))
        self.benchmarks, self.prompts = (list(both.questions[name].astype(str)) for name in ("benchmark", "prompt"))

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        told, used = self.embedding.predict_proba(prompt_vectors), self._shared(self.text, "", nan).used
        x = self.embedding.question_vectors(prompt_vectors)[:, used]
        ease, x[:, 0] = x[:, 0].copy(), 1  # with the level in its place
        logits = ease + self.embedding.model_vectors[self.fitted :, used] @ x.T
        told[self.fitted :] = averaged(logits, ((x @ self.spreads) * x).sum(axis=2))
        return told
