"""What notebook 02 says: when training stops, how long a vector must be, and what all of it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm.catalog import FACTORIZATION
from embedllm.claims import all_claims
from embedllm.conclusions._words import interval
from embedllm.presentation import about, counted, listed, thousandths, unsigned

MEASURED = ("speed", "machine", "reached", "exponents", "warm_starts", "encoders", "cost")  # timing_* of figures/bench
ARCHITECTURE = (  # Q12: inputs, training, output
    "Given: who answered which question correctly, and prompts, which a frozen encoder turns into vectors. Trained, to "
    "lower the log-loss of those answers: the model vectors, a projection of prompt vectors to their length, and the "
    "weights and the constant of the classifier. Output: the probability that a model answers a question correctly."
)
SHOWN = 0.999  # of the spread of the convex embedding, which the directions kept beside the figures carry
SPEED_AND_COST = """
## How fast, and what it costs

`make bench` times every step at the paper's size, each in a process of its own, and writes the tables below; nothing is
timed in this notebook. The yardstick is the same model trained the plain way, one (model, question) cell at a time.
Scoring all models on a batch of questions needs one projection per question instead of one for each of its cells. In
the figure one size at a time changes, the others being the paper's. More: [figures/bench](../figures/bench/README.md).
"""
def lowest(history: pd.DataFrame) -> str:
    """When the validation loss is lowest, from the history of the fitted factorization."""
    losses = history["val"]
    return f"The validation loss is lowest, {losses.min():.4f}, after epoch {losses.idxmin() + 1} of {len(losses)}."


def shortest(shorter: pd.DataFrame, margin: float) -> str:
    """Down to which length each forecaster's vectors are as good as at the best one, from `learning.shorter`."""
    if not margin:
        shorter = shorter.assign(confidence=1 - 2 * all_claims()["C12"].level)
        rows = shorter[shorter["forecaster"] == FACTORIZATION.name]
        short = rows[(rows["dim"] > 0) & (rows["dim"] < rows["best"])]
        told = "; ".join(f"{row['dim']:.0f} {interval(row)}" for _, row in short.iterrows())
        means = "".join(f" At the best length, {row['best']:.0f}, the means lie at {interval(row)} thousandths."
                        for _, row in shorter[shorter["dim"] == 0].iterrows())
        fewer = (f" With fewer numbers than the best length, {rows['best'].iloc[0]:.0f}, its log-loss changes by, in "
                 f"thousandths: {told}.") * bool(told)
        return ("At its longest, where the margin is a share of what it earns, the factorization earns nothing over "
                f"the benchmark means here, so that there is no margin, and nothing is tested.{means}{fewer}")
    said = []
    for name, rows in shorter[shorter["dim"] > 0].groupby("forecaster", sort=False):
        best, as_good = int(rows["best"].iloc[0]), rows[rows["as_good"] & (rows["dim"] < rows["best"])]["dim"]
        down = f"down to {as_good.min()} shown to be as good" if len(as_good) else "no shorter one shown to be as good"
        said.append(f"{name}, {counted(best, 'number')} per model best on validation, {down}")
    return f"Lengths of vectors (margin {unsigned(margin)} thousandths of a nat): {'; '.join(said)}."


def bounded(between: pd.DataFrame) -> str:
    """One bound for all lengths at once, from `learning.convex_against_factorization`."""
    if between.empty:
        return "No length was tried that both forecasters have."
    ahead, worst = (between["high"] < 0).sum(), between["high"].max()
    reference = between["reference"].iloc[0].removesuffix(", given length")
    pair = f"The {between['method'].iloc[0]} is shown ahead of the {reference}"
    if worst < 0:
        return f"{pair} at every length, by {unsigned(-worst)} thousandths of a nat and more."
    return (f"{pair} at {ahead} of {counted(len(between), 'length')}; at all of them it is at most {unsigned(worst)} "
            "thousandths of a nat behind.")


def vectors_table(vectors: np.ndarray, models: pd.Index) -> pd.DataFrame:
    """The convex embedding with names: ``level`` and directions ``d1``, ``d2``, ..., in logits, to four digits."""
    names = ["level", *(f"d{number}" for number in range(1, vectors.shape[1]))]
    return pd.DataFrame(vectors, index=models, columns=names).round(4).reset_index()


def leading(vectors: np.ndarray) -> int:
    """How many directions carry `SHOWN` of the spread."""
    return int((np.cumsum(spread(vectors)) < SHOWN).sum()) + 1


def spread(vectors: np.ndarray) -> np.ndarray:
    """Share of each direction, level aside, in the mean square distance of the models."""
    squares = (vectors[:, 1:] ** 2).sum(axis=0)
    return squares / (squares.sum() or 1)


def directions(shares: Sequence[float], places: pd.DataFrame) -> str:
    """How much of the models' differences a map shows, and how its axes go with the level.

    Parameters
    ----------
    shares : sequence of float
        Of the directions, see `spread`.
    places : DataFrame
        ``level`` and the directions.
    """
    if not sum(shares):
        return "Nothing tells the models apart beyond their general level, as far as validation can tell."
    with_level = listed(f"{place:+.2f}" for place in places.corr()["level"].fillna(0).iloc[1:])
    return (f"Two directions carry {sum(shares):.0%} of what tells the models apart beside their general level, with "
            f"which they correlate {with_level}.")


def conclusion(
    history: pd.DataFrame, shorter: pd.DataFrame, between: pd.DataFrame, margin: float, n_models: int
) -> str:
    """What training shows.

    Parameters
    ----------
    history : DataFrame
        Of the fitted factorization.
    shorter, between : DataFrame
        From `learning.shorter` and `learning.convex_against_factorization`.
    margin : float
        Log-loss, nats per cell.
    n_models : int
    """
    return f"""
## What training shows

{lowest(history)} {shortest(shorter, margin)} With {n_models} numbers, as many as there are models, the
factorization is as free as one regression for each model. {bounded(between)}
"""


def speed(tables: Mapping[str, pd.DataFrame]) -> str:
    """What `make bench` measured.

    Parameters
    ----------
    tables : mapping
        `MEASURED`: the tables timing_* of figures/bench.
    """
    machine = tables["machine"].set_index("what")["value"]
    published_way, plain, batched, mmlu, labels, _ = tables["cost"]["flop"]
    by_cells, by_question = (tables["cost"].iloc[row] for row in (1, 2))
    powers = tables["exponents"].set_index("measure")
    grows, fills = (", ".join(f"{of.axis} {of.exponent:.2f} ({of.last:.2f})" for of in powers.loc[measure].itertuples())
                    for measure in ("seconds", "megabytes"))
    near = tables["reached"].dropna().sort_values("seconds")
    arrived = "; ".join(f"{row.solver} in {row.seconds:.1f} s" for row in near.itertuples())
    warm = tables["warm_starts"].pivot_table(index=["curve", "size"], columns="start")
    anew, onward = warm["seconds"].columns
    change = warm["val"][onward] - warm["val"][anew]
    saved = "; ".join(
        f"for the {curve}, {part[onward].sum():.0f} s instead of {part[anew].sum():.0f} (the loss changes by "
        f"{thousandths(change[curve].min())} to {thousandths(change[curve].max())} thousandths)"
        for curve, part in warm["seconds"].groupby("curve"))
    encoders = tables["encoders"].set_index("way")
    fastest = encoders["prompts_per_second"].idxmax()
    published, ratio = (all_claims()[name].values[key] for name, key in (("C5", "flop"), ("C6", "ratio")))
    spared = (": vectors save where the labels exist already or serve many benchmarks" if labels > mmlu else "")
    return f"""
### What the measurements show

On {machine['processor']} with {machine['cores']} cores ({machine['memory, GB']} GB, torch {machine['torch']}):

- Of {len(tables["reached"])} ways to train, each tried with one seed, these come within {near['margin'].max()} of the
  lowest validation loss: {arrived}.
- The time of an epoch grows as these powers of the sizes, in brackets between the two largest sizes: {grows}. Two
  measurements of one size differ by {powers.loc["seconds", "again"].median() - 1:.0%} in the median.
- Memory beyond vectors and scores grows as these powers: {fills}.
- Starting each point of a curve from the one before it takes, {saved}. The curves of this study train each point anew,
  so that none depends on another.
- The fastest way to encode is {fastest} ({encoders['prompts_per_second'][fastest]:.0f} prompts a second, float32
  {encoders['prompts_per_second']['float32']:.0f}); its vectors have a cosine of at least
  {encoders['lowest_cosine'][fastest]:.3f} with those of float32, in which the study encodes.
- By its convention the paper's training takes {about(published_way / 1e12, 3)} TFLOP (published:
  {published / 1e12:.2f}). Counted by operation, training cell by cell takes {about(plain / 1e12)} TFLOP (prompt vectors
  need no gradient) and by question {about(batched / 1e12)}, {about(plain / batched)} times less. In time that is
  {about(by_cells['seconds'] / 60)} minutes and {about(by_question['seconds'])} seconds,
  {about(by_cells['seconds'] / by_question['seconds'])} times less; in memory, beyond the vectors and scores that
  are trained on, {about(by_cells['megabytes'])} and {about(by_question['megabytes'])} MB (in the paper's setting, of
  which C5 speaks; the table of speeds is of more questions with shorter vectors).
- Benchmarking on MMLU costs {about(mmlu / published_way)} times a training as the paper counts it (published: at least
  {ratio:,}) and {about(mmlu / batched)} times training by question. This leaves out the labels of the training
  questions, which cost {about(labels / mmlu)} times as much as that benchmark{spared}.
"""
