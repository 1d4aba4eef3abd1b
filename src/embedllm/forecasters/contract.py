"""What every forecaster keeps: fitting, forecasting, saving, loading."""

from __future__ import annotations

import importlib
import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from embedllm.files import write
from embedllm.outcomes import OutcomeMatrix

FORMAT = 1  # of saved files


class ForecasterError(ValueError):
    """Data or a file that a forecaster cannot use; the message says what was expected."""


class Forecaster(ABC):
    """Predicts which model answers which question correctly.

    A forecaster sees tables, prompt vectors and benchmarks, never text or network. A subclass is a dataclass whose
    fields are its settings, so that two forecasters are equal if their settings are; it implements `_fit` and
    `_predict` and names in ``LEARNED`` what `_fit` leaves behind for `_predict`.

    Attributes (after ``fit``)
    --------------------------
    models : list of str
        Names of the models, in the order of the rows that are forecast.
    d_prompt : int
        Length of a prompt vector.
    """

    LEARNED: ClassVar[tuple[str, ...]] = ()

    @property
    def n_candidates(self) -> int:
        """How many settings `fit` may choose from on validation; 1 where nothing is chosen."""
        return 1

    @property
    def choice(self) -> dict:
        """What `fit` chose: setting to value, empty where nothing is chosen."""
        return {}

    def fit(
        self, train: OutcomeMatrix, train_vectors: np.ndarray, val: OutcomeMatrix, val_vectors: np.ndarray
    ) -> Self:
        """Learn from `train`; whatever is tuned is chosen on `val`.

        Parameters
        ----------
        train, val : OutcomeMatrix
            Of the same models.
        train_vectors, val_vectors : ndarray, shape (n_questions, d_prompt), float32

        Raises
        ------
        ForecasterError
            If the vectors do not belong to the tables, or these hold different models.
        """
        length = train_vectors.shape[-1]
        for part, table, vectors in (("training", train, train_vectors), ("validation", val, val_vectors)):
            if vectors.shape != (table.shape[1], length):
                raise ForecasterError(f"{table.shape[1]} {part} questions need a prompt vector each, all of one "
                                      f"length; found an array of shape {vectors.shape}")
        if not train.models.index.equals(val.models.index):
            raise ForecasterError("training and validation must be answers of the same models, in the same order")
        self.models, self.d_prompt = list(train.models.index), length
        self._fit(train, train_vectors, val, val_vectors)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray, benchmarks: Sequence[str] | None = None) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions).

        Parameters
        ----------
        prompt_vectors : ndarray, shape (n_questions, d_prompt), float32
        benchmarks : array-like of str, shape (n_questions,), optional
            The benchmark of each question, for forecasters that know it; one that was not trained on is
            forecast from the model alone.

        Raises
        ------
        ForecasterError
            If nothing was fitted, the vectors are of another length, or benchmarks are needed and not given.
        """
        if not hasattr(self, "d_prompt"):
            raise ForecasterError(f"{type(self).__name__} is not fitted yet")
        if prompt_vectors.ndim != 2 or prompt_vectors.shape[1] != self.d_prompt:
            raise ForecasterError(f"fitted to prompt vectors of length {self.d_prompt}, found an array of shape "
                                  f"{prompt_vectors.shape}: encode the prompts with the same encoder")
        return self._predict(prompt_vectors, benchmarks)

    @abstractmethod
    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        """What `fit` does once its arguments are checked."""

    @abstractmethod
    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        """What `predict_proba` does once its arguments are checked."""

    def save(self, path: Path, encoder: str = "") -> None:
        """Write settings, names of models and all that was learned to an npz of arrays and a JSON header, no pickle.

        Parameters
        ----------
        encoder : str
            What made the prompt vectors; `load` gives it back as the attribute ``encoder``.
        """
        arrays: dict[str, np.ndarray] = {}
        header = {"format": FORMAT, "version": version("embedllm-study"), "encoder": encoder,
                  "forecaster": _packed(self, arrays)}
        stream = io.BytesIO()
        np.savez(stream, header=np.array(json.dumps(header)), **arrays)
        write(Path(path), stream.getvalue())

    @staticmethod
    def load(path: Path) -> Forecaster:
        """Read what `save` wrote, whichever forecaster it is.

        Raises
        ------
        ForecasterError
            If the file holds something else, or was written in another format.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            header = json.loads(str(arrays.pop("header")))
            if header["format"] != FORMAT:
                raise ForecasterError(f"{path} was written in format {header['format']} by version "
                                      f"{header['version']}; this version reads format {FORMAT}: fit and save it anew")
            forecaster = _unpacked(header["forecaster"], arrays)
            forecaster.encoder = header["encoder"]
        except ForecasterError:
            raise
        except Exception as error:  # whatever numpy, zip, JSON and a class with other settings find wrong
            raise ForecasterError(f"{path} holds no forecaster that this version can read "
                                  f"({type(error).__name__}: {error})") from error
        return forecaster


def packed(forecaster: Forecaster) -> tuple[dict, dict[str, np.ndarray]]:
    """A forecaster as JSON can hold it, and the arrays that this names."""
    arrays: dict[str, np.ndarray] = {}
    return _packed(forecaster, arrays), arrays


def unpacked(content: dict, arrays: Mapping[str, np.ndarray]) -> Forecaster:
    """The forecaster that `packed` was given."""
    return _unpacked(content, dict(arrays))


def _packed(value, arrays: dict[str, np.ndarray], learned: bool = True):
    """A value as JSON can hold it; its arrays go to `arrays`, under numbers. Settings are kept as before a fit."""
    if isinstance(value, np.ndarray | np.generic):
        arrays[f"array{len(arrays)}"] = np.asarray(value)
        return {"array": f"array{len(arrays) - 1}"}
    if isinstance(value, pd.DataFrame):
        return {"frame": {name: _packed(value[name].to_numpy(), arrays) for name in value}}
    if hasattr(value, "LEARNED"):
        kind = type(value)
        settings = {one.name: getattr(value, one.name) for one in fields(value)}
        names = (*kind.LEARNED, "models", "d_prompt") if learned else ()
        found = {name: getattr(value, name) for name in names if hasattr(value, name)}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "settings": _packed(settings, arrays, False),
                "learned": _packed(found, arrays)}
    if isinstance(value, Mapping):
        return {"dict": [[name, _packed(item, arrays, learned)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(item, arrays, learned) for item in value]}
    return value


def _unpacked(value, arrays: dict[str, np.ndarray]):
    """What `_packed` was given."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]][()]  # an array without axes becomes the number it was
    if "frame" in value:
        return pd.DataFrame({name: _unpacked(item, arrays) for name, item in value["frame"].items()})
    if "class" in value:
        module, _, name = value["class"].rpartition(".")
        if module.split(".")[0] == __package__.split(".")[0]:
            importlib.import_module(module)
        kind = getattr(sys.modules.get(module), name, None)  # a class from elsewhere is taken only if it was imported
        if not hasattr(kind, "LEARNED"):
            raise ForecasterError(f"{value['class']} is no forecaster known here: import its module first")
        thing = kind(**_unpacked(value["settings"], arrays))
        for name, item in _unpacked(value["learned"], arrays).items():
            setattr(thing, name, item)
        return thing
    if "dict" in value:
        return {name: _unpacked(item, arrays) for name, item in value["dict"]}
    [(kind, items)] = value.items()
    return {"list": list, "tuple": tuple}[kind]([_unpacked(item, arrays) for item in items])
