"""The questions that a training learns from, on the device, batch by batch and with noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from embedllm import machine
from embedllm.outcomes import OutcomeMatrix

BLOCK = 512  # questions predicted or, in whole batches, gathered at a time
POOL = 2**21  # random numbers that noise is taken from, at least: 8 MB
UNASKED = 2  # byte of a cell without a score
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]  # prompt vectors, scores, weights of the cells


class Questions:
    """Training and validation questions on the device: what trainings on the same parts share.

    Parameters
    ----------
    train, val : OutcomeMatrix
    train_vectors, val_vectors : ndarray, shape (n_questions, d_prompt), float32

    Attributes
    ----------
    vectors, held_out : Tensor, shape (n_questions, d_prompt), float32
        Prompt vectors of training and of validation.
    answers, held_out_answers : Answers
    """

    def __init__(
        self, train: OutcomeMatrix, train_vectors: np.ndarray, val: OutcomeMatrix, val_vectors: np.ndarray
    ):
        self.device = machine.device()
        self.shape = train.shape
        self.vectors, self.held_out = (torch.as_tensor(v, dtype=torch.float32, device=self.device)
                                       for v in (train_vectors, val_vectors))
        self.answers, self.held_out_answers = Answers(train, self.device), Answers(val, self.device)
        self._pools: dict[tuple, torch.Tensor] = {}
        self._gathered = torch.empty(0, device=self.device)

    def epoch(self, order: torch.Tensor, batch: int, noise: float, generator: torch.Generator) -> Iterator[Batch]:
        """All training questions once, in an order, as prompt vectors with noise, scores and shares of the cells.

        A share is 1 over the number of observed cells of the batch, 0 where a cell was not asked. A batch is to be
        used before the next one is asked for: its memory is taken again.

        Parameters
        ----------
        order : Tensor, shape (n_questions,), int64
        noise : float
            Standard deviation of the noise on prompt vectors.
        generator : torch.Generator
            Says where in the pool of random numbers the noise of some batches starts; its seed drew the pool.
        """
        d_prompt, size = self.vectors.shape[1], batch * max(1, BLOCK // batch)
        pool = self._pool(generator.initial_seed(), size * d_prompt) if noise else None
        if len(self._gathered) < size:
            self._gathered = torch.empty(size, d_prompt, device=self.device)
        for rows in order.to(self.device).split(size):
            e = torch.index_select(self.vectors, 0, rows, out=self._gathered[: len(rows)])
            if noise:
                start = int(torch.randint(len(pool) - e.numel(), (), generator=generator))
                e.add_(pool[start : start + e.numel()].view_as(e), alpha=noise)
            scores, mask = self.answers(rows)
            for one in zip(e.split(batch), scores.split(batch), mask.split(batch), strict=True):
                yield *one[:2], 1 / one[2].numel() if self.answers.complete else one[2] / one[2].sum().clamp(min=1)

    def _pool(self, seed: int, size: int) -> torch.Tensor:
        """Standard normal numbers, drawn once: drawn anew for each question they took a quarter of a training."""
        size = max(POOL, 2 * size)
        if (seed, size) not in self._pools:
            drawing = torch.Generator(self.device).manual_seed(seed)
            self._pools = {(seed, size): torch.randn(size, generator=drawing, device=self.device)}
        return self._pools[seed, size]


class Answers:
    """The scores of a table, question first: a byte a cell where all are 0 or 1, floats otherwise.

    ``complete`` says whether every model answered every question.
    """

    def __init__(self, table: OutcomeMatrix, device):
        kind = np.uint8 if table.binary else np.float32
        cells = np.empty(table.shape[::-1], kind)
        self.complete = True
        for start in range(0, len(cells), BLOCK):
            block = table.scores[:, start : start + BLOCK].T
            cells[start : start + BLOCK] = np.nan_to_num(block, nan=UNASKED)
            self.complete &= not np.isnan(block).any()
        self.cells = torch.as_tensor(cells, device=device)

    def __call__(self, rows: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (0 where not asked) and mask of some questions: float32, (n_rows, n_models)."""
        cells = self.cells[rows] if isinstance(rows, slice) else self.cells.index_select(0, rows)
        if self.complete:
            return cells.float(), torch.ones((), device=cells.device).expand(cells.shape)
        mask = cells != UNASKED
        return (cells * mask).float(), mask.float()
