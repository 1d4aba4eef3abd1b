"""What the columns of a reader's table of outcomes are: the score, models, or what tells repeated rows apart."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, abbreviate
from embedllm.sources._files import held, text_categories, to_scores
from embedllm.sources._rows import written

BENCHMARK = ("benchmark", "category", "task")  # accepted names of a column, the first one found is taken
SCORE = ("score", "correct", "label")  # the same; `label` may be the right answer instead and is checked

ANSWERS = {"answer", "answers", "response", "output", "prediction", "predicted", "pred", "completion", "generation"}
# Words of names of columns that may differ between several runs of a model on a question.
OF_A_RUN = ANSWERS | {
    "run", "seed", "repeat", "repetition", "replicate", "trial", "sample", "attempt", "id", "uuid", "index", "row",
    "time", "timestamp", "date", "datetime", "created", "start", "started", "end", "finished", "duration", "latency",
    "seconds", "tokens", "length", "cost", "price", "text", "raw", "log", "logprob", "logprobs", "probability",
    "confidence", "explanation", "reasoning", "rationale", "comment", "note", "notes", "error", "stderr",
}
# Names of columns that mean different things to be scored, however few rows they tell apart.
NOT_OF_A_RUN = {*BENCHMARK, "metric", "metric_name", "filter", "scorer", "scorer_name", "judge", "criterion", "suite",
                "subset", "subtask", "dataset", "language", "split", "version", "setting", "condition"}
# Last words of columns beside that of a model, as in gpt-4|total_cost.
OF_A_MODEL = ANSWERS | {"cost", "price", "tokens", "latency", "time", "duration", "score", "correct", "label", "prompt",
                        "confidence", "probability", "prob", "logprob", "f1", "judge", "error"}
# Words of names of right answers and of facts about questions, wherever they stand in a name.
OF_A_QUESTION = {"gold", "truth", "key", "label", "difficulty", "contaminated", "idx", "is", "has", "true"}
# Words that say that something else was scored, whatever else a name says: metric_id, prompt_template_id.
MEANING = {"metric", "prompt", "template", "judge", "task", "dataset", "rubric", "format", "language", "criterion"}
# Names that no model has: of the long form's columns, of facts about questions and of summaries.
NO_MODEL = OF_A_RUN | NOT_OF_A_RUN | {
    *SCORE, "model", "models", "model_name", "model_id", "llm", "prompt", "question", "input", "instruction",
    "context", "choices", "options", "part", "fold", "subject", "topic", "domain", "source", "is_correct", "acc",
    "accuracy", "performance", "exact_match", "f1", "target", "gold", "key", "reference", "truth",
    "ground_truth", "difficulty", "level",
    "discrimination", "guessing", "weight", "count", "n", "num", "number", "mean", "average", "avg", "median", "total",
    "sum", "std", "var", "min", "max", "unnamed", "oracle", "majority", "y", "y_true", "y_pred", "passed",
}


def is_wide(outcomes: pd.DataFrame) -> bool:
    """Whether a table has one row per question and a column for each model."""
    return "question_id" in outcomes and not {"model", "score"} & set(outcomes)


def with_score(outcomes: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The long form with its score under the name ``score``, as `to_scores` gives it.

    Raises
    ------
    OutcomeError
        If it has none, if two columns of accepted names disagree, or if the one found reads as the right answers:
        ``label`` beside a column of the models' answers, or the same for all models at every question.
    """
    found = [name for name in SCORE if name in outcomes]
    if not found:
        raise OutcomeError(f"{file} lacks the column(s) score; looked for {', '.join(SCORE[:-1])} or {SCORE[-1]}; "
                           f"{held(outcomes)}")
    scores = to_scores(outcomes[found[0]])
    if found[0] != "score":
        _require_no_key(outcomes.assign(**{found[0]: scores}), found[0], file)
    for other in found[1:]:
        if other != "label":  # beside a score it is the right answer
            differs = (pd.to_numeric(scores, errors="coerce").to_numpy(float)
                       != pd.to_numeric(to_scores(outcomes[other]), errors="coerce").to_numpy(float))
            differs &= ~(scores.isna() & to_scores(outcomes[other]).isna()).to_numpy()
            if differs.any():
                raise OutcomeError(f"{file}, row {outcomes.index[differs][0]}: {found[0]} and {other} disagree; keep "
                                   "the one that is meant")
    return outcomes.drop(columns=found).assign(score=scores)


def _require_no_key(outcomes: pd.DataFrame, column: str, file: Path) -> None:
    """Raise OutcomeError if a column reads as the right answers and not as scores."""
    answers = [name for name in outcomes.columns if _words(name)[-1:] and _words(name)[-1] in ANSWERS]
    if answers and column == "label":
        raise OutcomeError(f"{file}: label may be the right answer, beside {abbreviate(answers)}; name the column that "
                           "says whether a model was right score")
    if not answers and column != "label":
        return
    answered = outcomes[outcomes[column].notna()].drop_duplicates(["model", "question_id"])
    several = answered["question_id"].duplicated().any()
    kinds = answered.drop_duplicates(["question_id", column])
    if several and not kinds["question_id"].duplicated().any() and kinds[column].duplicated().sum() < len(kinds) - 1:
        raise OutcomeError(f"{file}: {column} is the same for all models at every question, as a right answer is; name "
                           "it score if it says whether a model was right")


def require_alike(outcomes: pd.DataFrame, file: Path) -> None:
    """Raise OutcomeError if repeated rows of a (model, question) pair are no repeats: a column tells them apart.

    Not counted are columns of what differs from run to run (`OF_A_RUN`), and those that hold another value in most
    rows, as free text and numbers of rows do.
    """
    columns = [name for name in outcomes.columns if name not in ("model", "question_id", "score", "cost")
               and (_plain(name) in NOT_OF_A_RUN or MEANING & set(_words(name)) or not OF_A_RUN & set(_words(name)))]
    if not columns:
        return
    pair = ["model", "question_id"]
    outcomes = outcomes.assign(**{name: text_categories(outcomes[name].map(written)) for name in pair})
    repeated = outcomes[outcomes.duplicated(pair, keep=False)]
    for column in columns:
        values = repeated[column].astype("string").fillna("")
        first = values.groupby([repeated[name] for name in pair], observed=True, sort=False).transform("first")
        differs = values != first
        means = _plain(column) in NOT_OF_A_RUN or MEANING & set(_words(column))
        if differs.any() and (means or 2 * values.nunique() <= len(values)):
            number = repeated.index[differs][0]
            told = ", ".join(f"{value[:40]!r}" for value in (first[differs].iloc[0], values[differs].iloc[0]))
            raise OutcomeError(f"{file}: rows differ in {column}; keep one: row {number} is not the first of its "
                               f"(model, question) pair, with another {column} ({told}); without the column they are "
                               "taken as repeats")


def long_form(wide: pd.DataFrame, file: Path) -> pd.DataFrame:
    """One row per answer, from one row per question, where every column but the question id is a model.

    Returns
    -------
    DataFrame
        ``model`` and ``question_id`` (categorical), ``score`` as `to_scores` gives it; all rows of the first model,
        then of the next, with the index of `wide`.

    Raises
    ------
    OutcomeError
        If a column is no model: it has no name, a name that no model has, also behind that of another column
        (``gpt-4|total_cost``), or cells none of which is a score.
    """
    columns = [str(name) for name in wide.columns.drop("question_id")]
    form = f"{file} has no column model, so that every column beside question_id is taken as a model"
    if not all(name.strip() for name in columns):
        raise OutcomeError(f"{form}, but it has a column without a name; name it after a model or remove it")
    known = Counter(map(written, columns))
    if twins := [repr(name) for name in columns if known[written(name)] > 1]:
        raise OutcomeError(f"{file} has columns whose names differ in blanks at the ends or in Unicode form only: "
                           f"{abbreviate(twins)}; keep one of them")
    begun = Counter(name[:mark.start()] for name in columns for mark in [*re.finditer(r"[\W_]+", name)][-1:]
                    if OF_A_MODEL & set(_words(name)[-1:]))
    stems = {*columns, *(stem for stem, number in begun.items() if number > 1)}
    others = [" ".join(name.split()) for name in columns if _is_no_model(name, stems)]
    if others:
        verb = "belongs" if len(others) == 1 else "belong"
        raise OutcomeError(f"{form}: {abbreviate(others)} {verb} in the questions table (or, for one row per answer, "
                           f"looked for the columns model, question_id and {' or '.join(SCORE)})")
    models, questions = pd.Index(columns), wide["question_id"].astype("category")
    answers = pd.DataFrame({
        "model": pd.Categorical.from_codes(np.repeat(np.arange(len(models)), len(wide)), models),
        "question_id": pd.Categorical.from_codes(np.tile(questions.cat.codes, len(models)), questions.cat.categories),
    }, index=np.tile(wide.index, len(models)))
    if answers.empty:
        return answers.assign(score=np.nan)
    answers["score"] = to_scores(pd.concat([cells for name, cells in wide.items() if name != "question_id"])).to_numpy()
    told = answers["score"].notna().to_numpy().reshape(len(models), -1)
    right = pd.to_numeric(answers["score"], errors="coerce").between(0, 1).to_numpy().reshape(told.shape)
    for wrong in np.flatnonzero(told.any(axis=1) & ~right.any(axis=1))[:1]:
        row = told[wrong].argmax()
        cell = str(wide[columns[wrong]].iloc[row])[:40]
        raise OutcomeError(f"{form}, but no cell of {columns[wrong][:60]!r} is a score in [0, 1] (row "
                           f"{wide.index[row]}: {cell!r}); remove it, or put it into the questions table")
    return answers


def _is_no_model(name: str, stems: set[str]) -> bool:
    """Whether a column of the wide form has a name that no model has, or adds such a word to one of some stems."""
    plain = _plain(name)
    if plain in NO_MODEL or OF_A_QUESTION & set(_words(name)) or re.fullmatch(
            r"unnamed_.*|(n|num|total|mean|average|avg)_.*|.*_(tokens|cost|mean|level)", plain):
        return True
    added = {word for mark in re.finditer(r"[\W_]+", name) if name[:mark.start()] in stems
             for word in _words(name[mark.end():])[-1:]}
    return bool(added & OF_A_MODEL)


def _plain(name: object) -> str:
    """A column's name in lower case, its words joined by underscores."""
    return "_".join(_words(name))


def _words(name: object) -> list[str]:
    """The words of a column's name, also of camel case, in lower case."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name)).lower())
