"""A router to take home: fitted on a table of outcomes, guarded, saved in one file, asked with prompts alone."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save as bytes_of

from embedllm import catalog
from embedllm.encoders import encoding
from embedllm.encoders.cache import encode
from embedllm.files import digest, write
from embedllm.forecasters.contract import Forecaster, packed, unpacked
from embedllm.forecasters.registry import build
from embedllm.levels import adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.presentation import OneSentenceError
from embedllm.routing.guard import EPSILON, Guard, fit_guard
from embedllm.routing.price import of_models, unit
from embedllm.splits import cut, folds, prompt_groups

FORMAT = 1  # of saved routers
TWELFTHS, CALIBRATE, VALIDATE = 12, 4, 5  # of the questions: the first four calibrate, the next validates
CONTENT = "router"  # key of the file's metadata


class RouterError(OneSentenceError, ValueError):
    """A question, a choice of models or a file that a router cannot use."""


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
    """

    forecaster: Forecaster
    guard: Guard
    models: pd.DataFrame
    unit: str
    encoder: str
    calibration: pd.DataFrame

    @classmethod
    def fit(
        cls, table: OutcomeMatrix, encoder: str = "minilm", entry: catalog.Forecaster = catalog.TEXT_ONLY,
        seed: int = 0, vectors: np.ndarray | None = None, epsilon: float = EPSILON,
    ) -> Router:
        """Fit a router, and calibrate its guard on a third of the questions that nothing else used.

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
            Score that the guarded router may lose against the default model.

        Raises
        ------
        RouterError
            If there is one model only, or the forecaster has to be told a benchmark.
        """
        if table.shape[0] < 2:
            raise RouterError("a router needs two models or more to choose from, found one")
        if "benchmark" in entry.reads:
            raise RouterError(f"{entry.name} has to be told the benchmark of a question, which a prompt does not say: "
                              "take a forecaster that reads the text alone")
        if vectors is None:
            vectors = encode(encoder, table.questions["prompt"], None)
        part = divided(table, seed)
        parts = cut(table, vectors, part)
        forecaster = build(entry, {"seed": seed}).fit(*parts["train"], *parts["val"])
        means, calibrating = adjusted_means(table.at(part != "test")), parts["test"][0]
        means = np.nan_to_num(means, nan=np.nanmin(means) - 1)
        guard, calibration = fit_guard(
            int(means.argmax()), forecaster.predict_proba(parts["val"][1]), forecaster.predict_proba(parts["test"][1]),
            calibrating.scores, prompt_groups(calibrating).to_numpy(), epsilon, seed=seed)
        models = pd.DataFrame({"price": of_models(table.models)["price"], "mean": means}, index=table.models.index)
        return cls(forecaster, guard, models, unit(table.models), encoder, calibration)

    @cached_property
    def _model(self):  # loaded once for all prompts
        return encoding.load(self.encoder) if catalog.ENCODERS[self.encoder].weights else None

    def route(
        self, prompts: Iterable[str], max_price: float = inf, among: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Choose a model for each prompt.

        Parameters
        ----------
        prompts : iterable of str
        max_price : float
            Models that cost more, or whose price is unknown, are left out.
        among : iterable of str, optional
            The models to choose from, by name; default all.

        Returns
        -------
        DataFrame
            A row a prompt: ``model``, ``probability`` (that it answers correctly), ``runner_up`` (of the others the
            one with the highest probability), ``price``, ``fell_back`` (True: the default model, since no other leads
            it by enough) and ``certified`` (whether the guard's guarantee holds for this choice of models).

        Raises
        ------
        RouterError
            If a prompt is empty, a model unknown, or no model is left.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        for number, prompt in enumerate(prompts):
            if isinstance(prompt, str) and not prompt.strip():
                raise RouterError(f"prompt {number} is empty: there is nothing to route by")
        return self.route_vectors(encode(self.encoder, prompts, None, self._model), max_price, among)

    def route_vectors(
        self, vectors: np.ndarray, max_price: float = inf, among: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """`route` of prompts whose vectors are there, (n_prompts, dim) float32 and finite."""
        unusable = ~np.isfinite(vectors).all(axis=1)
        if unusable.any():
            raise RouterError(f"{unusable.sum()} prompt vectors are not finite, the first in row {unusable.argmax()}")
        candidates = self._candidates(max_price, among)
        probability = self.forecaster.predict_proba(vectors)[candidates]
        names, means = self.models.index[candidates], self.models["mean"].to_numpy()[candidates]
        known = len(candidates) == len(self.models)
        default = self.guard.default if self.guard.default in candidates else candidates[means.argmax()]
        held = Guard(int(np.flatnonzero(candidates == default)[0]), self.guard.threshold)
        choice, at = held.choose(probability), np.arange(probability.shape[1])
        others = probability.copy()
        others[choice, at] = -inf
        fell_back = (choice == held.default) & (probability.argmax(axis=0) != held.default)
        return pd.DataFrame({
            "model": names[choice], "probability": probability[choice, at],
            "runner_up": names[others.argmax(axis=0)] if len(names) > 1 else None,
            "price": self.models["price"].to_numpy()[candidates][choice], "fell_back": fell_back, "certified": known,
        })

    def _candidates(self, max_price: float, among: Iterable[str] | None) -> np.ndarray:
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
        return np.flatnonzero(allowed)

    def save(self, path: Path) -> None:
        """Write the router to one file: arrays as safetensors, the rest as JSON in its metadata, no pickle."""
        content, arrays = packed(self.forecaster)
        tables = {"models": self.models, "calibration": self.calibration}
        arrays |= {f"{label}.{name}": table[name].to_numpy() for label, table in tables.items() for name in table}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header = {
            "format": FORMAT, "version": version("embedllm-study"), "forecaster": content,
            "models": list(self.models.index), "columns": {label: list(table) for label, table in tables.items()},
            "unit": self.unit, "encoder": self.encoder, "weights": _weights(self.encoder),
            "guard": asdict(self.guard) | {"threshold": str(self.guard.threshold)},
        }
        write(Path(path), bytes_of(arrays, {CONTENT: json.dumps(header | {"digest": _fingerprint(header, arrays)})}))

    @classmethod
    def load(cls, path: Path) -> Router:
        """Read what `save` wrote.

        Raises
        ------
        RouterError
            If the file is no router, damaged, of another format, or its encoder has other weights here.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
            length = int.from_bytes(content[:8], "little")
            header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][CONTENT])
            arrays, written, encoder = tensors_of(content), header["format"], header["encoder"]
        except OSError as error:
            raise RouterError(f"{path} cannot be read ({error.strerror})") from None
        except Exception as error:  # whatever JSON and safetensors find wrong
            raise RouterError(f"{path} is no router, or only a part of one ({type(error).__name__})") from error
        if written != FORMAT:
            raise RouterError(f"{path} was written in format {written} by version {header.get('version')}; this one "
                              f"reads format {FORMAT}: fit and save it again")
        if encoder not in catalog.ENCODERS or header.get("weights") != _weights(encoder):
            raise RouterError(f"{path} was fitted to vectors of encoder {encoder}, of which this version has other "
                              "weights or none: fit and save it again")
        if header.pop("digest", "") != _fingerprint(header, arrays):
            raise RouterError(f"{path} does not hold what was saved: it is damaged or was changed")
        models, calibration = (pd.DataFrame({name: arrays[f"{label}.{name}"] for name in header["columns"][label]})
                               for label in ("models", "calibration"))
        guard = Guard(**header["guard"] | {"threshold": float(header["guard"]["threshold"])})
        return cls(unpacked(header["forecaster"], arrays), guard,
                   models.set_axis(pd.Index(header["models"], name="model")), header["unit"], encoder, calibration)


def _weights(encoder: str) -> str:
    """The hash of an encoder's weights; blank where it has none."""
    weights = catalog.ENCODERS[encoder].weights
    return weights.sha256 if weights else ""


def divided(table: OutcomeMatrix, seed: int) -> np.ndarray:
    """What `Router.fit` uses each question for: "train", "val", or "test" for those that calibrate the guard."""
    fold = folds(table, TWELFTHS, seed).to_numpy()
    return np.select([fold < CALIBRATE, fold < VALIDATE], ["test", "val"], "train")


def _fingerprint(header: dict, arrays: dict[str, np.ndarray]) -> str:
    """A SHA-256 of the header and of the names, shapes, types and bytes of the arrays."""
    told = [repr((name, arrays[name].shape, arrays[name].dtype.str)) for name in sorted(arrays)]
    return digest(json.dumps(header, sort_keys=True), *told, *(arrays[name].tobytes() for name in sorted(arrays)))
