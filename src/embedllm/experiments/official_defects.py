"""What each defect of the official EmbedLLM code (Zhuang et al., ICLR 2025) changes: with it, and without.

One defect is switched on at a time. All else is the honest protocol: questions shuffled, the epoch chosen on
validation, no noise in forecasts, missing cells left out, nothing chosen on test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.evaluation import fits
from embedllm.evaluation.inference import holm
from embedllm.evaluation.metrics import per_question, targets
from embedllm.experiments.comparisons import train
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.neighbors import KNearestNeighbors
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, replace_unchecked, resolved
from embedllm.routing.policies import best_single, choose, gained
from embedllm.sources.flaws import blocks_never_run
from embedllm.splits import Design, Parts

COLUMNS = ["defect", "measure", "without", "with_defect", "difference", "low", "high", "seed_sd", "p", "p_holm", "note"]
FEW_MISSING = 0.01  # share of cells: with fewer missing, counting them as wrong cannot be seen
DROPPED = 0.1  # share of (model, benchmark) blocks to drop then
REPEATED = 0.13  # share of training questions to run twice where none was: that of repeated pairs in the paper's files
ON_LABELS = "chosen and scored on the same test labels, so not tested"

Values = dict[str, np.ndarray]  # measure to one value a test question


class Plan(NamedTuple):
    """The trainings of one seed by name, not run yet, and what else of a defect the seed draws."""

    trainings: dict[str, partial]
    noise: np.ndarray  # on the test vectors, of unit SD
    gaps: str  # where missing cells come from, and repeated rows
    repeats: str


class Case(NamedTuple):
    """A defect after one training without it and one with it; no values where it cannot be measured."""

    defect: str
    note: str
    without: Values | None = None
    with_defect: Values | None = None
    tested: bool = True


def defects(parts: Parts, n_seeds: int = 5, **settings) -> pd.DataFrame:
    """Measure every defect on one table.

    Trainings come from `n_seeds` seeds. A seed also draws the noise in forecasts and what is put into the training
    data where the table cannot show a defect; ``note`` says so. Test questions are the same throughout. ``patience`` 0
    is read as: train all epochs, then go back to the best on validation.

    Returns
    -------
    DataFrame
        One row per defect and measure: ``defect``; ``measure``, one of "log-loss" (nats), "accuracy", "routing
        score" (each question sent to the model with the highest forecast), "score of the best single model", on
        test against `metrics.targets`; ``without``, ``with_defect`` and their paired ``difference`` (with minus
        without) with ``low``, ``high`` (95 %) and ``p`` over questions and trainings (`fits.compare`); ``seed_sd`` of
        the difference between trainings; ``p_holm`` over the tested rows; ``note``. What is chosen on the test labels
        is scored on them and not tested. Where nothing can be measured ``measure`` is blank and the numbers are NaN.
    """
    design = Design.of(parts["test"][0])
    default = Factorization(**settings)
    settings = settings | {"patience": default.patience or default.epochs}
    plans = [_plan(parts, settings | {"seed": default.seed + n}) for n in range(n_seeds)]
    fitted = iter(side_by_side([training for plan in plans for training in plan.trainings.values()]))
    seeds = [list(_cases(parts, plan, dict(zip(plan.trainings, islice(fitted, len(plan.trainings)), strict=True))))
             for plan in plans]
    rows = []
    for cases in zip(*seeds, strict=True):
        case = cases[0]
        if case.without is None:
            rows.append({"defect": case.defect, "measure": "", "note": case.note})
            continue
        for measure in case.without:
            before = np.array([each.without[measure] for each in cases])  # (n_seeds, n_test)
            after = np.array([each.with_defect[measure] for each in cases])
            both = {"with": after, "without": before}
            rows.append(fits.compare(both, [("with", "without")], design).iloc[0].to_dict() | {
                "defect": case.defect, "measure": measure, "note": case.note,
                "without": np.nanmean(before), "with_defect": np.nanmean(after),
                "seed_sd": pd.Series(np.nanmean(after - before, axis=1)).std(),
            } | ({} if case.tested else {"p": np.nan}))
    result = pd.DataFrame(rows)
    return result.assign(p_holm=holm(result["p"]))[COLUMNS]


def _plan(parts: Parts, settings: dict) -> Plan:
    """What to train with one seed; which trainings there are depends on the table only."""
    rng = np.random.default_rng(settings["seed"])
    (table, vectors), (_, test_vectors) = parts["train"], parts["test"]
    noise = rng.standard_normal(test_vectors.shape, dtype=np.float32)

    def training(change: Parts | None = None, **other) -> partial:
        return partial(train, parts | (change or {}), **settings | other)

    order = np.argsort(pd.factorize(table.questions["benchmark"])[0], kind="stable")
    trainings = {
        "honest": training(),
        "chosen on test": training({"val": parts["test"]}),
        "last epoch": training(patience=0),
        "sorted": training({"train": (table.at(order), vectors[order])}, shuffle=False),
    }
    if (np.diff(order) != 1).any():
        trainings["order of the file"] = training(shuffle=False)
    gappy, gaps = _with_gaps(parts, rng)
    if gappy:
        filled = {part: (replace_unchecked(gaps, scores=np.nan_to_num(gaps.scores)), at)
                  for part, (gaps, at) in gappy.items()}
        trainings |= {"gaps": training(gappy), "gaps as wrong": training(filled)}
    rows, repeats = _repeats(table, rng)
    if rows is not None:
        raw, at = _all_rows(table, rows)
        cells = Factorization(**settings).batch_cells
        batch = round(cells * len(at) / len(vectors))  # as many updates an epoch as without
        trainings |= {"all rows": training({"train": (raw, vectors[at])}, batch_cells=batch)}
        trainings |= {name: partial(KNearestNeighbors().fit, some, vectors, *parts["val"])
                      for name, some in (("kNN", table), ("kNN on maxima", _maxima(table, rows)))}
    return Plan(trainings, noise, gaps, repeats)


def _cases(parts: Parts, plan: Plan, fitted: Mapping[str, Forecaster]) -> Iterator[Case]:
    """Every defect with the trainings of one seed."""
    (table, _), (test, test_vectors) = parts["train"], parts["test"]
    labeled = replace_unchecked(test, references={})  # scored by the labels, which are all that the official code has
    forecasts = {name: one.predict_proba(test_vectors) for name, one in fitted.items()}
    found, plain = {name: _measured(forecast, test) for name, forecast in forecasts.items()}, fitted["honest"]
    honest = found["honest"]

    noisy = plain.predict_proba(test_vectors + plain.noise * plan.noise)
    yield Case("training noise stays on in forecasts", f"SD {plain.noise:g}, one draw a question",
               honest, _measured(noisy, test))
    on_labels = [_measured(forecasts[name], labeled) for name in ("honest", "chosen on test")]
    yield Case("epoch chosen on test", f"lowest test log-loss, not lowest validation log-loss; {ON_LABELS}",
               *on_labels, tested=False)
    yield Case("no epoch chosen", f"the last of {plain.epochs}", honest, found["last epoch"])
    singles = [{"score of the best single model": _best_single(part, test)} for part in (table, test)]
    yield Case("best single model picked on test", ON_LABELS, *singles, tested=False)
    yield Case("missing labels count as wrong", plan.gaps, found.get("gaps"), found.get("gaps as wrong"))
    yield Case("no shuffling, sorted by benchmark", "the order of the paper's files", honest, found["sorted"])
    if "order of the file" in found:
        yield Case("no shuffling, order of the file", "", honest, found["order of the file"])
    else:
        yield Case("no shuffling, order of the file", "this file is sorted by benchmark: as above")
    yield Case("repeated rows: kNN takes the maximum", plan.repeats, found.get("kNN"), found.get("kNN on maxima"))
    yield Case("repeated rows: the factorization trains on all", plan.repeats,
               honest if "all rows" in found else None, found.get("all rows"))
    yield Case("revisions of data and encoder not pinned", "cannot be measured in one table")


def _measured(probabilities: np.ndarray, test: OutcomeMatrix) -> Values:
    """The measures of forecasts in each test question."""
    choices = choose(probabilities, test.observed)
    return {
        "log-loss": per_question(test, probabilities, "log_loss"),
        "accuracy": per_question(test, probabilities, "accuracy"),
        "routing score": gained(choices, targets(test, "score")),
    }


def _best_single(picked_on: OutcomeMatrix, test: OutcomeMatrix) -> np.ndarray:
    """Labels on test of the model that is best on a table: (n_test,)."""
    return gained(choose(best_single(picked_on, test.questions), test.observed), test.scores)


def _with_gaps(parts: Parts, rng: np.random.Generator) -> tuple[Parts | None, str]:
    """Training and validation with missing cells: their own, or whole blocks dropped at random."""
    known = {part: parts[part] for part in ("train", "val")}
    missing = np.hstack([~table.observed for table, _ in known.values()])
    own = f"the table's own missing cells, {missing.mean():.1%} in training and validation"
    if missing.mean() >= FEW_MISSING:
        return known, own
    benchmark = pd.factorize(np.concatenate([table.questions["benchmark"] for table, _ in known.values()]))[0]
    at_random = np.zeros(missing.shape)  # no model does worse anywhere
    gone = blocks_never_run(at_random, benchmark, DROPPED, rng)
    if not gone.any():
        return None, f"hardly a cell is missing ({missing.mean():.1%}), and there are too few benchmarks to drop any"
    cut = np.split(gone, [known["train"][0].shape[1]], axis=1)
    dropped = {
        part: (replace_unchecked(table, scores=np.where(away, np.float32(np.nan), table.scores)), vectors)
        for (part, (table, vectors)), away in zip(known.items(), cut, strict=True)
    }
    return dropped, f"injected: about {DROPPED:.0%} of (model, benchmark) blocks dropped at random, besides {own}"


def _repeats(table: OutcomeMatrix, rng: np.random.Generator) -> tuple[pd.DataFrame | None, str]:
    """Rows of training pairs that have several: the table's own, or second runs drawn from a known truth."""
    own = table.repeats[table.repeats["question_id"].isin(table.questions.index)]
    if len(own):
        share = len(own.drop_duplicates(["model", "question_id"])) / table.observed.sum()
        rule = table.provenance.get("rule for repeated rows", "the table's")
        return own, f"{share:.1%} of the training pairs; the rule without the defect: {rule}"
    truth = table.references.get("true probability")
    if truth is None or not table.binary:
        return None, "no repeated rows in this table"
    twice = np.zeros(table.shape[1], dtype=bool)  # whole questions, as those of several categories in the paper's files
    twice[rng.choice(len(twice), int(np.ceil(REPEATED * len(twice))), replace=False)] = True
    m, q = np.nonzero(twice & table.observed)
    second = (rng.random(len(m)) < truth[m, q]).astype(np.float32)
    pairs = {"model": table.models.index[m], "question_id": table.questions.index[q]}
    rows = pd.concat([pd.DataFrame({**pairs, "score": scores}) for scores in (table.scores[m, q], second)])
    return rows, f"injected: {REPEATED:.0%} of the training questions run twice; the rule without the defect: first"


def _cells(table: OutcomeMatrix, repeats: pd.DataFrame) -> np.ndarray:
    """Flat position of each repeated row in the scores of the table: (n_rows,)."""
    m = table.models.index.get_indexer(pd.Index(repeats["model"]))
    return m * table.shape[1] + table.questions.index.get_indexer(pd.Index(repeats["question_id"]))


def _maxima(table: OutcomeMatrix, repeats: pd.DataFrame) -> OutcomeMatrix:
    """The table with each repeated pair at its highest score."""
    settled = resolved(_cells(table, repeats), repeats["score"], "max")
    scores = table.scores.copy()
    scores.flat[settled.index] = settled
    return replace_unchecked(table, scores=scores)


def _all_rows(table: OutcomeMatrix, repeats: pd.DataFrame) -> tuple[OutcomeMatrix, np.ndarray]:
    """The table with a column more for the second row of a question's pairs, one for the third, and so on.

    Each row is then a training cell: the loss is that of mean scores weighted by the number of rows. Also returns
    which question of the table each column belongs to: (n_columns,).
    """
    cells = _cells(table, repeats)
    turn = repeats.groupby(["model", "question_id"], sort=False, observed=True).cumcount().to_numpy()
    columns, blocks = [], []
    for number in range(turn.max() + 1):
        block = np.full_like(table.scores, np.nan) if number else table.scores.copy()
        block.flat[cells[turn == number]] = repeats["score"].to_numpy()[turn == number]
        columns.append(np.flatnonzero(~np.isnan(block).all(axis=0)))
        blocks.append(block[:, columns[-1]])
    at = np.concatenate(columns)
    return replace_unchecked(table.at(at), scores=np.hstack(blocks)), at
