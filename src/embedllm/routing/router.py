"""A router to take home: fitted on a table of outcomes, guarded, saved in one file, asked with prompts alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.encoders import encoding
from embedllm.encoders.cache import encode
from embedllm.forecasters.contract import Forecaster, packed, unpacked
from embedllm.forecasters.registry import build
from embedllm.levels import adjusted_means
from embedllm.outcomes import OutcomeMatrix, without
from embedllm.routing.answers import Routes, allowed_models
from embedllm.routing.guard import EPSILON, Guard, fit_guard
from embedllm.routing.policies import candidates
from embedllm.routing.price import of_models, unit, weigh
from embedllm.routing.saving import Answered, best_priced, certified_savings, nothing_tried
from embedllm.routing.stored import RouterError, read_router, write_router
from embedllm.splits import cut, folds, prompt_groups

TWELFTHS, CALIBRATE, VALIDATE = 12, 4, 5  # of the questions: the first four calibrate, the next validates


@dataclass
class Router:
    """Chooses one of several LLMs for each prompt.

    Attributes
    ----------
    forecaster : Forecaster
        Fitted; reads prompt vectors alone.
    guard : Guard
        Keeps to its default model where no other is certain enough to be better.
    models : DataFrame, indexed by model name
        ``price`` (NaN where unknown) and ``mean``, the mean score of training.
    unit : str
        What a price is for, as "million tokens in dollars".
    encoder : str
        Name in `catalog.ENCODERS` of what turned the prompts of training into vectors.
    calibration : DataFrame
        What calibrated the guard, from `guard.fit_guard`.
    savings : DataFrame
        How cheap it may get, from `saving.certified_savings`.
    complete : bool
        Whether every model answered every question that it was fitted and calibrated on; else nothing is certified of
        what it may choose.
    """

    forecaster: Forecaster
    guard: Guard
    models: pd.DataFrame
    unit: str
    encoder: str
    calibration: pd.DataFrame
    savings: pd.DataFrame = field(default_factory=nothing_tried)
    complete: bool = True

    @classmethod
    def fit(
        cls, table: OutcomeMatrix, encoder: str = "minilm", entry: catalog.Forecaster = catalog.TEXT_ONLY,
        seed: int = 0, vectors: np.ndarray | None = None, epsilon: float = EPSILON,
    ) -> Router:
        """Fit a router, and calibrate its guard and its saving on a third of the questions that nothing else used.

        Each of the two holds with 95 % confidence, both together with 90 %. Models are those of `policies.candidates`.

        Parameters
        ----------
        table : OutcomeMatrix
            Which model answered which question how well. Prices are those of `price.of_models`: the models' column
            ``cost``, or what is listed for them or their size.
        encoder : str
        entry : catalog.Forecaster
            Whose forecasts to follow: one that reads the text alone.
        seed : int
            Of the split and of training.
        vectors : ndarray, shape (n_questions, dim), optional
            Of the prompts, where they are there already.
        epsilon : float
            Score that the guarded router may lose against the default model, and a thrifty one against the best
            priced model.

        Raises
        ------
        RouterError
            If there is one candidate only, or the forecaster has to be told a benchmark.
        PriceError
            If a price is negative or infinite.
        """
        kept, judged = candidates(table)
        if kept.sum() < 2:
            raise RouterError("a router needs two models or more to choose from, found one")
        if "benchmark" in entry.reads:
            raise RouterError(f"{entry.name} has to be told the benchmark of a question, which a prompt does not say: "
                              "take a forecaster that reads the text alone")
        prices = of_models(table.models)["price"]
        if vectors is None:
            vectors = encode(encoder, table.questions["prompt"], None)
        table, vectors = without(table, list(table.models.index[~kept])).at(judged), vectors[judged]
        prices = prices[kept]
        part = divided(table, seed)
        parts = cut(table, vectors, part)
        forecaster = build(entry, {"seed": seed}).fit(*parts["train"], *parts["val"])
        means = adjusted_means(table.at(part != "test"))
        means = np.nan_to_num(means, nan=np.nanmin(means) - 1)
        val, test = (Answered(forecaster.predict_proba(parts[name][1]), parts[name][0].scores)
                     for name in ("val", "test"))
        groups = prompt_groups(parts["test"][0]).to_numpy()
        guard, calibration = fit_guard(int(means.argmax()), val.forecasts, *test, groups, epsilon, seed=seed)
        savings = certified_savings(best_priced(means, prices.to_numpy()), prices.to_numpy(), val, test, groups,
                                    epsilon, seed)
        models = pd.DataFrame({"price": prices, "mean": means}, index=table.models.index)
        return cls(forecaster, guard, models, unit(table.models), encoder, calibration, savings,
                   bool(table.observed.all()))

    def add(self, name: str, answers: Mapping[str, float], price: float = nan, **facts) -> Router:
        """This router with one more model, known by a few answers; nothing is certified of what that may choose.

        Answers are to questions that the forecaster asks for (a `Pool`), facts as `Pool.add` takes them, the price in
        the router's unit. Raises RouterError if the forecaster takes in no models or not this one, and what these do.
        """
        if not hasattr(self.forecaster, "add"):
            raise RouterError(f"{type(self.forecaster).__name__} takes in no models: fit one with entry=catalog.POOL")
        price = of_models(pd.DataFrame({"cost": [price]}, index=pd.Index([name], name="model")))["price"]
        forecaster = deepcopy(self.forecaster)
        added = forecaster.add(name, answers, **facts)
        if added.odd:
            raise RouterError(f"{name} answers unlike any model of the pool: no router can rely on forecasts of it")
        one = pd.DataFrame({"price": price, "mean": added.accuracies["value"].iloc[0]})
        return replace(self, forecaster=forecaster, models=pd.concat([self.models, one]), complete=False)

    @property
    def thrift(self) -> tuple[float, float] | None:
        """The cheapest certified rule, None if none is certified.

        The weight of a price, as a share of the dearest model's, against a forecast; and the lead over the best priced
        model from which on another one is asked.
        """
        chosen = self.savings[self.savings["chosen"]]
        return (float(chosen["weight"].iloc[0]), float(chosen["threshold"].iloc[0])) if len(chosen) else None

    @property
    def best_priced(self) -> str | None:
        """The model that a saving is compared with: the best one of training that has a price; None if none has."""
        best = best_priced(self.models["mean"].to_numpy(), self.models["price"].to_numpy())
        return None if best is None else str(self.models.index[best])

    @cached_property
    def _model(self):  # loaded once for all prompts
        return None if catalog.ENCODERS[self.encoder].path else encoding.load(self.encoder)

    def route(
        self, prompts: Iterable[str], max_price: float = inf, among: Iterable[str] | None = None, thrifty: bool = False
    ) -> pd.DataFrame:
        """Choose a model for each prompt.

        The guard asks the default model unless another one leads it by enough. Whoever is `thrifty` asks by the rule
        `thrift` instead, and always the best priced model where none is certified: an expected score at most epsilon
        below that model's. Guard and saving are each certified at 95 %, both together at 90 %.

        Parameters
        ----------
        prompts : iterable of str
        max_price : float
            Models that cost more, or whose price is unknown, are left out.
        among : iterable of str, optional
            The models to choose from, by name; default all.
        thrifty : bool
            Among models that have a price.

        Returns
        -------
        DataFrame
            A row a prompt, with the columns of `Routes`.

        Raises
        ------
        RouterError
            If a prompt is empty, a model unknown, or no model is left.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        for number, prompt in enumerate(prompts):
            if isinstance(prompt, str) and not prompt.strip():
                raise RouterError(f"prompt {number} is empty: there is nothing to route by")
        vectors = encode(self.encoder, prompts, None, self._model)
        return pd.DataFrame(self.route_vectors(vectors, max_price, among, thrifty)._asdict())

    def route_vectors(
        self, vectors: np.ndarray, max_price: float = inf, among: Iterable[str] | None = None, thrifty: bool = False
    ) -> Routes:
        """`route` of prompts whose vectors are there, (n_prompts, dim) float32 and finite."""
        unusable = ~np.isfinite(vectors).all(axis=1)
        if unusable.any():
            raise RouterError(f"{unusable.sum()} prompt vectors are not finite, the first in row {unusable.argmax()}")
        names, prices, means = self._facts
        asked = self._all if max_price == inf and among is None and not thrifty else allowed_models(
            self.models, self.unit, max_price, among, thrifty)
        forecasts = self.forecaster.predict_proba(vectors)
        probability = forecasts[asked]
        wanted, (weight, threshold) = self.guard.default, (0.0, self.guard.threshold)
        if thrifty:
            wanted, (weight, threshold) = best_priced(means, prices), self.thrift or (0.0, inf)
        utilities = weigh(forecasts, prices, weight)[asked] if thrifty else probability
        default = wanted if wanted in asked else asked[means[asked].argmax()]
        held = Guard(int(np.searchsorted(asked, default)), threshold)
        choice, at = held.choose(utilities), np.arange(probability.shape[1])
        fell_back = (choice == held.default) & (utilities.argmax(axis=0) != held.default)
        others = probability.copy()
        others[choice, at] = -inf
        runner_up = names[asked[others.argmax(axis=0)]] if len(asked) > 1 else np.full(len(at), None)
        whole = len(asked) == (len(prices) - np.isnan(prices).sum() if thrifty else len(prices))
        return Routes(names[asked[choice]], probability[choice, at], runner_up, prices[asked[choice]], fell_back,
                      np.full(len(at), self.complete and bool(whole)))

    @cached_property
    def _facts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Names, prices and means as arrays: pandas would take longer to hand them out than a choice takes."""
        return self.models.index.to_numpy(object), self.models["price"].to_numpy(), self.models["mean"].to_numpy()

    @cached_property
    def _all(self) -> np.ndarray:
        return np.arange(len(self.models))

    def save(self, path: Path) -> None:
        """Write the router to one file, see `stored`."""
        content, arrays = packed(self.forecaster)
        told = {"forecaster": content, "models": list(self.models.index), "unit": self.unit, "encoder": self.encoder,
                "complete": self.complete, "guard": asdict(self.guard) | {"threshold": str(self.guard.threshold)}}
        tables = {"models": self.models, "calibration": self.calibration, "savings": self.savings}
        write_router(path, told, arrays, tables)

    @classmethod
    def load(cls, path: Path) -> Router:
        """Read what `save` wrote.

        Raises
        ------
        RouterError
            If the file is no router, damaged, of another format, or its encoder has other weights here.
        """
        told, arrays, tables = read_router(path)
        guard = Guard(**told["guard"] | {"threshold": float(told["guard"]["threshold"])})
        models = tables["models"].set_axis(pd.Index(told["models"], name="model"))
        return cls(unpacked(told["forecaster"], arrays), guard, models, told["unit"], told["encoder"],
                   tables["calibration"], tables["savings"], told["complete"])


def divided(table: OutcomeMatrix, seed: int) -> np.ndarray:
    """What `Router.fit` uses each question for: "train", "val", or "test" for those that calibrate guard and saving."""
    fold = folds(table, TWELFTHS, seed).to_numpy()
    return np.select([fold < CALIBRATE, fold < VALIDATE], ["test", "val"], "train")
