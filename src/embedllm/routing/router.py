"""A router to take home: fitted on a table of outcomes, guarded, saved in one file, asked with prompts alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.encoders import encoding
from embedllm.encoders.cache import encode
from embedllm.forecasters.contract import Forecaster, packed, unpacked
from embedllm.forecasters.registry import build
from embedllm.levels import adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.guard import EPSILON, Guard, fit_guard
from embedllm.routing.price import of_models, unit, weighed
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
    """

    forecaster: Forecaster
    guard: Guard
    models: pd.DataFrame
    unit: str
    encoder: str
    calibration: pd.DataFrame
    savings: pd.DataFrame = field(default_factory=nothing_tried)

    @classmethod
    def fit(
        cls, table: OutcomeMatrix, encoder: str = "minilm", entry: catalog.Forecaster = catalog.TEXT_ONLY,
        seed: int = 0, vectors: np.ndarray | None = None, epsilon: float = EPSILON,
    ) -> Router:
        """Fit a router, and calibrate its guard and its saving on a third of the questions that nothing else used.

        Each of the two holds with 95 % confidence, both together with 90 %.

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
            If there is one model only, or the forecaster has to be told a benchmark.
        PriceError
            If a price is negative or infinite.
        """
        if table.shape[0] < 2:
            raise RouterError("a router needs two models or more to choose from, found one")
        if "benchmark" in entry.reads:
            raise RouterError(f"{entry.name} has to be told the benchmark of a question, which a prompt does not say: "
                              "take a forecaster that reads the text alone")
        prices = of_models(table.models)["price"]
        if vectors is None:
            vectors = encode(encoder, table.questions["prompt"], None)
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
        return cls(forecaster, guard, models, unit(table.models), encoder, calibration, savings)

    @property
    def weight(self) -> float | None:
        """Of a price, as a share of the dearest model's, against a forecast: the cheapest certified; None if none is.

        Zero may be that: forecasts alone, of models that have a price.
        """
        chosen = self.savings["weight"][self.savings["chosen"]]
        return float(chosen.iloc[0]) if len(chosen) else None

    @property
    def best_priced(self) -> str | None:
        """The model that a saving is compared with: the best one of training that has a price; None if none has."""
        best = best_priced(self.models["mean"].to_numpy(), self.models["price"].to_numpy())
        return None if best is None else str(self.models.index[best])

    @cached_property
    def _model(self):  # loaded once for all prompts
        return encoding.load(self.encoder) if catalog.ENCODERS[self.encoder].weights else None

    def route(
        self, prompts: Iterable[str], max_price: float = inf, among: Iterable[str] | None = None, thrifty: bool = False
    ) -> pd.DataFrame:
        """Choose a model for each prompt.

        The guard asks the default model unless another one leads it by enough. Whoever is `thrifty` asks for forecast
        minus `weight` times price instead, and always the best priced model where no weight is certified: an expected
        score at most epsilon below that model's. Guard and saving are each certified at 95 %, both together at 90 %.

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
            A row a prompt: ``model``, ``probability`` (that it answers correctly), ``runner_up`` (of the others the
            one with the highest probability), ``price``, ``fell_back`` (True: the default model, since no other leads
            it by enough, or no saving is certified) and ``certified`` (whether the guarantee, the guard's or the
            saving's, holds for the models that could be chosen).

        Raises
        ------
        RouterError
            If a prompt is empty, a model unknown, or no model is left.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        for number, prompt in enumerate(prompts):
            if isinstance(prompt, str) and not prompt.strip():
                raise RouterError(f"prompt {number} is empty: there is nothing to route by")
        return self.route_vectors(encode(self.encoder, prompts, None, self._model), max_price, among, thrifty)

    def route_vectors(
        self, vectors: np.ndarray, max_price: float = inf, among: Iterable[str] | None = None, thrifty: bool = False
    ) -> pd.DataFrame:
        """`route` of prompts whose vectors are there, (n_prompts, dim) float32 and finite."""
        unusable = ~np.isfinite(vectors).all(axis=1)
        if unusable.any():
            raise RouterError(f"{unusable.sum()} prompt vectors are not finite, the first in row {unusable.argmax()}")
        candidates = self._candidates(max_price, among, thrifty)
        forecasts, prices = self.forecaster.predict_proba(vectors), self.models["price"].to_numpy()
        probability, names = forecasts[candidates], self.models.index[candidates]
        wanted = best_priced(self.models["mean"].to_numpy(), prices) if thrifty else self.guard.default
        default = wanted if wanted in candidates else candidates[self.models["mean"].to_numpy()[candidates].argmax()]
        held = Guard(int(np.flatnonzero(candidates == default)[0]), inf if thrifty else self.guard.threshold)
        choice, at = held.choose(probability), np.arange(probability.shape[1])
        fell_back = (choice == held.default) & (probability.argmax(axis=0) != held.default)
        if thrifty and self.weight is not None:
            allowed = np.isin(np.arange(len(forecasts)), candidates)[:, None]
            [chosen] = weighed(forecasts, np.broadcast_to(allowed, forecasts.shape), prices, [self.weight])
            choice, fell_back = np.searchsorted(candidates, chosen), np.full(len(at), False)
        others = probability.copy()
        others[choice, at] = -inf
        return pd.DataFrame({
            "model": names[choice], "probability": probability[choice, at],
            "runner_up": names[others.argmax(axis=0)] if len(names) > 1 else None,
            "price": prices[candidates][choice], "fell_back": fell_back,
            "certified": len(candidates) == (~np.isnan(prices)).sum() if thrifty else len(candidates) == len(prices),
        })

    def _candidates(self, max_price: float, among: Iterable[str] | None, thrifty: bool) -> np.ndarray:
        """Positions of the models that may be chosen."""
        allowed = np.full(len(self.models), True)
        if among is not None:
            names = [among] if isinstance(among, str) else list(among)
            for name in names:
                if name not in self.models.index:
                    close = difflib.get_close_matches(name, self.models.index, 1)
                    raise RouterError(f"among names {name!r}, which this router does not know"
                                      + (f"; did you mean {close[0]}?" if close else ""))
            allowed = self.models.index.isin(names)
        if max_price != inf:
            price = self.models["price"]
            if not price[allowed].notna().any():
                raise RouterError("max_price needs prices, and none of these models has one: give the table's models a "
                                  "column cost and fit the router again")
            affordable = allowed & (price <= max_price).to_numpy()
            if not affordable.any():
                cheapest = price[allowed].idxmin()
                raise RouterError(f"no model costs {max_price:g} or less; the cheapest is {cheapest} at "
                                  f"{price[cheapest]:g} a {self.unit}")
            allowed = affordable
        if not allowed.any():
            raise RouterError("among names no model")
        if thrifty:
            allowed = allowed & self.models["price"].notna().to_numpy()
            if not allowed.any():
                raise RouterError("a thrifty choice needs prices, and none of these models has one: give the table's "
                                  "models a column cost and fit the router again")
        return np.flatnonzero(allowed)

    def save(self, path: Path) -> None:
        """Write the router to one file, see `stored`."""
        content, arrays = packed(self.forecaster)
        told = {"forecaster": content, "models": list(self.models.index), "unit": self.unit, "encoder": self.encoder,
                "guard": asdict(self.guard) | {"threshold": str(self.guard.threshold)}}
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
                   tables["calibration"], tables["savings"])


def divided(table: OutcomeMatrix, seed: int) -> np.ndarray:
    """What `Router.fit` uses each question for: "train", "val", or "test" for those that calibrate guard and saving."""
    fold = folds(table, TWELFTHS, seed).to_numpy()
    return np.select([fold < CALIBRATE, fold < VALIDATE], ["test", "val"], "train")
