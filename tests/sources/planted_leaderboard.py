"""A folder as the Open LLM Leaderboard v2 is published, with answers, orders and ids that are known."""

from pathlib import Path

import numpy as np
import pandas as pd
from conftest import make_table
from scipy.special import expit

from embedllm.outcomes import OutcomeMatrix
from embedllm.sources.open_llm_leaderboard import PROMPTS, RESULTS

CORE = {"Big-Bench-Hard__one": "bbh_one", "Big-Bench-Hard__two": "bbh_two", "IFEVAL": "ifeval",
        "MATH-LvL-5__beginner_algebra_hard": "math_algebra_hard", "MuSR__three": "musr_three"}
LENGTHS = dict(zip(CORE, (200, 253, 301, 150, 122), strict=True))
SUITES = {"bbh": 453, "ifeval": 301, "math": 150, "musr": 122}
RAN = {f"org/m{number}": processes for number, processes in enumerate((2, 8, 2, 1, 2, 4, 2, 8, 2, 1, 2, 4))}


def answered(n: int, processes: int) -> list[int]:
    """Which question stands where in a row: those of process 0, then of process 1, ..."""
    return [question for process in range(processes) for question in range(process, n, processes)]


def published(scores: pd.DataFrame, ran=RAN) -> pd.DataFrame:
    """A table as the repository has it, of scores in the order of their questions."""
    n = scores.shape[1]
    rows = [[name.replace("/", "__", 1), "2024-10-24", *scores.loc[name].to_numpy()[answered(n, ran[name])]]
            for name in scores.index]
    return pd.DataFrame(rows, columns=["model", "timestamp", *map(str, answered(n, 2))])


def drawn(rng, easy, names=RAN) -> pd.DataFrame:
    """Right or wrong, of ability and how easy a question is."""
    ability = np.linspace(-1, 1, len(names))[:, None]
    return pd.DataFrame((rng.random((len(names), len(easy))) < expit(ability + easy)).astype(int), index=list(names))


def results(root: Path, stem: str) -> Path:
    return root / RESULTS / f"{stem}_results.csv"


def prompts(root: Path, stem: str) -> Path:
    return root / PROMPTS / f"{CORE[stem]}_prompts.csv"


def plant(root: Path, known: OutcomeMatrix) -> pd.DataFrame:
    """Write what `read` reads, MMLU-Pro as in `known`; return every score, a model a row, a question id a column."""
    rng = np.random.default_rng(0)
    truth = {}
    for folder in (RESULTS, PROMPTS):
        (root / folder).mkdir(parents=True)
    for stem, n in LENGTHS.items():
        truth[stem] = drawn(rng, 1.5 * rng.standard_normal(n))
        published(truth[stem]).to_csv(results(root, stem), index=False)
        asked = pd.DataFrame({"id": answered(n, 2), "target": "yes"})
        asked["prompt"] = [f"{CORE[stem]}, {number}?" for number in asked["id"]]
        asked.to_csv(prompts(root, stem), index=False)
    own = known.questions.index.astype(int).argsort()
    easy = np.nanmean(known.scores, axis=0)[own]
    truth["MMLU-Pro"] = drawn(rng, 3 * (easy - easy.mean()))
    published(truth["MMLU-Pro"]).to_csv(results(root, "MMLU-Pro"), index=False)
    names = [f"{CORE.get(stem, 'mmlu_pro')}/{number}" for stem in truth for number in range(truth[stem].shape[1])]
    return pd.concat(truth.values(), axis=1).set_axis(names, axis=1)


def subjects() -> OutcomeMatrix:
    """In place of MMLU-Pro's 12,032 questions: 399, in the order of text."""
    rng = np.random.default_rng(1)
    table = make_table(rng.random((12, 399)) < expit(2 * rng.standard_normal(399)), ["law", "art", "food"] * 133)
    table.questions.index = pd.Index(sorted(map(str, range(5, 404))), name="question_id")
    return table


def change(file: Path, act) -> None:
    """Rewrite a CSV file, its cells as text."""
    act(pd.read_csv(file, dtype=str, keep_default_na=False)).to_csv(file, index=False)


def without_rows(*names):
    return lambda rows: rows[~rows["model"].isin([f"org__{name}" for name in names])]


def by_chance(rng, name):
    """Answers of a model that have nothing to do with the questions."""
    def act(rows):
        rows.iloc[rows.index[rows["model"] == f"org__{name}"], 2:] = rng.integers(0, 2, rows.shape[1] - 2).astype(str)
        return rows
    return act


def equal(table, truth) -> bool:
    """Whether every cell is the planted one."""
    expected = truth.loc[table.models.index, table.questions.index].to_numpy()
    return bool((table.scores == expected)[table.observed].all())
