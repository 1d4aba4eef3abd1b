"""Cells that are missing: who was not asked what, in which pattern, and whether it matters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse, stats

from embedllm.audit.anomalies import SHARED, easiness
from embedllm.audit.variance import benchmark_numbers, variance_components
from embedllm.outcomes import OutcomeMatrix, abbreviate

STRUCTURE = 0.1  # share of variance from which missing cells count as following a pattern
CLOSE = 0.5  # of the largest share: from here on a second pattern is named too
FEWEST_BENCHMARKS = 5  # with fewer, benchmarks that are missing as a whole cannot be told from chance
CLEAR = 0.05  # p below which missing questions count as easier or harder
WORDS = {"model": "by model", "benchmark": "by benchmark", "question within benchmark": "by question",
         "model x benchmark": "by model-benchmark pair"}


def describe_gaps(table: OutcomeMatrix) -> list[tuple[str, str, str]]:
    """What there is to say about missing cells: rows of check, value and detail, as `report.audit` shows them."""
    missing = ~table.observed
    total = int(missing.sum())
    if not total:
        return [("pattern of missing cells", "none", "every model was asked every question")]
    by_model, by_question = table.observed.mean(axis=1), table.observed.sum(axis=0)
    benchmark, _ = benchmark_numbers(table)
    labels = table.questions["benchmark"].drop_duplicates().to_numpy()
    sizes = np.bincount(benchmark)
    counts = np.array([np.bincount(benchmark, weights=row) for row in table.observed])  # models x benchmarks
    coverage = counts.sum(axis=0) / (sizes * len(counts))
    blocks = np.argwhere((counts == 0) & (sizes > 1))
    in_blocks = sizes[blocks[:, 1]].sum() / total
    share_worst = missing[by_model.argmin()].sum() / total
    return [
        ("models with the fewest answers", f"{by_model.min():.1%}",
         f"{table.models.index[by_model.argmin()]}, which accounts for {share_worst:.0%} of all missing cells; "
         f"models that were asked everything: {int((by_model == 1).sum())}"),
        ("benchmark with the lowest coverage", f"{coverage.min():.1%}", str(labels[coverage.argmin()])),
        ("fewest models asked a question", str(by_question.min()),
         f"{int((by_question < len(missing)).sum()):,} questions were not put to every model"),
        ("pattern of missing cells", *_pattern(table, in_blocks)),
        ("missing cells in whole blocks never run", f"{in_blocks:.0%}",
         abbreviate((f"{table.models.index[m]} on {labels[b]}" for m, b in blocks), 3)),
        *_bias(table),
    ]


def missing_difference(table: OutcomeMatrix) -> pd.DataFrame:
    """Are the questions a model lacks easier or harder for the others than those it has?

    The difference is the mean score of the other models, each relative to its own mean, on the questions that a
    model lacks minus those it has. It is the sum of a part between benchmarks and a part within. Each has an error
    of its own, both as if nothing but chance had chosen the gaps: in the first the benchmarks, in the second the
    questions of a benchmark are independent draws. A benchmark that is missing as a whole thus counts as one
    draw. With few benchmarks the quotient follows Student's t with (benchmarks - 1) / benchmark_share^2 degrees
    of freedom (Satterthwaite 1946, Biometrics Bulletin 2, the part within taken as known).

    Returns
    -------
    DataFrame, first all models together, then one row per model with missing cells in the order of the table
        - ``model``: name, "" for all together (averaged by their number of missing cells);
        - ``missing``: number of its missing cells;
        - ``difference``: in scores;
        - ``error``: its standard error;
        - ``benchmark_share``: share of the squared error that comes from between benchmarks, in [0, 1];
        - ``p``: two-sided; NaN where more than half of the squared error lies between benchmarks and these are
          fewer than five, or where the error is zero.

        Empty if no cell is missing, or no other model saw what is missing.
    """
    columns = ["model", "missing", "difference", "error", "benchmark_share", "p"]
    easy = easiness(table)
    known = ~np.isnan(easy)
    lacks, has = known & ~table.observed, known & table.observed
    usable = np.flatnonzero(lacks.any(axis=1) & has.any(axis=1))
    if not len(usable):
        return pd.DataFrame(columns=columns)
    easy, known, lacks, has = (np.where(known, easy, 0)[usable], known[usable], lacks[usable], has[usable])
    share = lacks.sum(axis=1) / lacks.sum()
    weight = lacks / lacks.sum(axis=1, keepdims=True) - has / has.sum(axis=1, keepdims=True)
    difference = (weight * easy).sum(axis=1)

    benchmark, n_benchmarks = benchmark_numbers(table)
    member = sparse.csr_matrix((np.ones(len(benchmark)), (benchmark, np.arange(len(benchmark)))))

    def sums(cells: np.ndarray) -> np.ndarray:
        """Sums over the questions of each benchmark: models x benchmarks."""
        return (member @ cells.T).T

    n = np.maximum(sums(known.astype(np.float64)), 1)
    mean, pull = sums(easy) / n, sums(weight)  # the weights of a model sum to zero, so only differences of means count
    seen = sums(known) > 0
    centered = np.where(seen, mean - np.where(seen, mean, 0).sum(axis=1, keepdims=True) / seen.sum(axis=1)[:, None], 0)
    within = np.where(known, (weight - (pull / n)[:, benchmark]) * (easy - mean[:, benchmark]), 0)

    def squared_errors(shares: np.ndarray) -> tuple[float, float]:
        """Between and within benchmarks, for models averaged with these shares."""
        # Every benchmark's easiness in the place of every other's: the variance if any could have been missing.
        exchanged = (pull * shares[:, None]).T @ centered
        return (exchanged**2).sum() / max(n_benchmarks - 1, 1), ((shares @ within) ** 2).sum()

    each = np.column_stack([(pull**2).sum(axis=1) * (centered**2).sum(axis=1) / max(n_benchmarks - 1, 1),
                            (within**2).sum(axis=1)])
    parts = np.vstack([squared_errors(share), each])
    total = parts.sum(axis=1)
    difference = np.r_[share @ difference, difference]
    error, positive = np.sqrt(total), total > 1e-18
    between = np.divide(parts[:, 0], total, out=np.zeros(len(total)), where=positive)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (n_benchmarks - 1) / between**2 if n_benchmarks > 1 else np.full(len(total), np.inf)
        p = 2 * stats.t.sf(np.abs(difference) / error, freedom)
    judged = positive & ((between <= 0.5) | (n_benchmarks >= FEWEST_BENCHMARKS))
    missing = lacks.sum(axis=1)
    return pd.DataFrame({"model": ["", *table.models.index[usable]], "missing": [missing.sum(), *missing],
                         "difference": difference, "error": error, "benchmark_share": between,
                         "p": np.where(judged, p, np.nan)}, columns=columns)


def _pattern(table, in_blocks: float) -> tuple[str, str]:
    """Words for how missing cells lie, and the shares of variance behind them."""
    variance = variance_components(table, table.observed.astype(np.float64)).set_index("component")["variance"]
    shares = variance.clip(lower=0)
    if variance.isna().any() or not shares.sum() > 0:
        return "not estimable", "the table is too small to tell patterns apart"
    shares /= shares.sum()
    structure = shares.drop("rest").sort_values(ascending=False, kind="stable")
    detail = "variance of who was asked what: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if (variance < 0).any():
        detail += " (estimates below zero taken as none)"
    if (~table.observed).sum() < SHARED:
        return "too few to say", detail
    if in_blocks >= 0.5 and shares["rest"] < 0.5:  # small benchmarks are missed as a whole by chance as well
        return "by block", detail
    if structure.iloc[0] < STRUCTURE:
        return ("no pattern by model, benchmark or question",
                detail + "; cells that are missing because of the answer itself look the same")
    found = structure[structure >= max(STRUCTURE, CLOSE * structure.iloc[0])].index[:2]
    return " and ".join(WORDS[name] for name in found), detail


def _bias(table) -> list[tuple[str, str, str]]:
    """Whether what is missing is easier or harder than the rest, for all models together and for the clearest one."""
    check = "missing questions are easier (+) or harder (-)"
    found = missing_difference(table)
    if found.empty:
        return [(check, "not estimable", "no other model was asked what is missing")]
    overall, models = found.iloc[0], found.iloc[1:]

    def words(row, tests: int, consequence: str) -> str:
        """Error of a difference, what it rests on, and what follows if it is beyond chance."""
        if np.isnan(row["p"]) and row["error"] > 0:
            return (f"difference {row['difference']:+.3f}, but whole benchmarks are missing and there are too few "
                    "benchmarks to tell this from chance")
        unit = "benchmarks" if row["benchmark_share"] > 0.5 else "questions"
        beyond = row["p"] * tests < CLEAR
        return (f"standard error {row['error']:.3f}, mostly from the choice of {unit}; "
                + (f"beyond chance: {consequence}" if beyond else "no more than chance explains"))

    def value(row) -> str:
        return f"{row['difference']:+.3f}" if np.isfinite(row["p"]) or row["error"] == 0 else "not judged"

    meaning = "mean score of the other models on what a model lacks minus what it has; "
    rows = [(check, value(overall), meaning + words(overall, 1, "means over observed cells do not compare"))]
    quotient = (models["difference"].abs() / models["error"].where(models["error"] > 0)).fillna(0)
    clearest = models.loc[quotient.idxmax()]
    shift = -clearest["difference"] * clearest["missing"] / table.shape[1]
    clear = int((models["p"] * len(models) < CLEAR).sum())
    rows.append(("the same for the model where it is clearest", value(clearest),
                 f"{clearest['model']}, {words(clearest, len(models), 'its mean does not compare')}"
                 f"; its mean over what it has lies about {shift:+.3f} from one over everything"
                 + (f"; beyond chance for {clear} of {len(models)} models" if clear > 1 else "")))
    return rows
