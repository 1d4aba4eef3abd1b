"""Tuning by successive halving, the one way in which gradient-trained candidates are chosen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import ClassVar

import numpy as np

from embedllm.forecasters.batches import Questions
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.training import Trained

# Updates that every candidate of Tuned gets, but no more than so many epochs. With 4 epochs the slow learning rate lost
# to the fast one before it could pass it (open-llm-leaderboard: 0.0012 on validation in one of two splits). Training
# all to their end takes twice as long and moves the validation log-loss by less than 0.001.
TRIAL, LONGEST_TRIAL = 300, 16
CUT = 3  # of so many candidates one goes on, for so many times as long


@dataclass
class Tuned(Forecaster):
    """The best of several gradient-trained candidates on validation log-loss.

    Successive halving (Jamieson and Talwalkar 2016, AISTATS): all get a short training, the best third goes on for
    three times as long, and so on; the last one is trained to its end. It is in ``best`` after ``fit``.

    Parameters
    ----------
    alternatives : sequence of Trained
    """

    alternatives: Sequence[Trained]

    LEARNED: ClassVar = ("best",)

    @property
    def n_candidates(self) -> int:
        return len(self.alternatives)

    @property
    def choice(self) -> dict:
        first = self.alternatives[0]
        return {one.name: getattr(self.best, one.name) for one in fields(first)
                if len({getattr(other, one.name) for other in self.alternatives}) > 1}

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        questions = Questions(train, train_vectors, val, val_vectors)
        racing = [(one, one.epochs_of(questions)) for one in self.alternatives]
        updates = [np.ceil(train.shape[1] / one.batch(*train.shape)) for one in self.alternatives]  # an epoch
        done, epochs = 0, min(LONGEST_TRIAL, int(np.ceil(TRIAL / min(updates))))
        while len(racing) > 1:
            for _, training in racing:
                deque(islice(training, epochs - done), maxlen=0)
            racing.sort(key=lambda runner: np.nan_to_num(runner[0].history["val"].min(), nan=np.inf))
            racing = racing[: max(1, len(racing) // CUT)]
            done, epochs = epochs, CUT * epochs
        [(self.best, training)] = racing
        deque(training, maxlen=0)

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        return self.best._predict(prompt_vectors, benchmarks)
