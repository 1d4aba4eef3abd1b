"""metabench: 6,349 LLMs of the Open LLM Leaderboard v1 on 1,075 questions of ARC, GSM8K, MMLU, TruthfulQA, WinoGrande.

The answers come from the files ``analysis/reduced/*.rds`` of github.com/adkipnis/metabench (Kipnis et al., ICLR 2025),
or from two tables prepared from them. The questions were chosen there as informative, so that accuracies are not those
of the benchmarks. Licensed CC BY-NC-SA 4.0: nothing of it is part of this repository.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.lineages import lineages
from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._files import checksum, coerce_numbers, require_columns
from embedllm.sources._metabench_rds import read_fit
from embedllm.sources._rows import from_rows, known_models
from embedllm.sources._tables import read_table
from embedllm.sources.seal import closed

COMMIT = "fe74e29"
LICENSE = "CC BY-NC-SA 4.0, github.com/adkipnis/metabench"
POOLS = ("sample", "complete", "paper-like", "all")
SUITES = {  # the published files: two tests of ARC and GSM8K that share no question
    "arc": ("arc-2PL-MAP-0.005-seed=1.rds", "arc-4PL-MAP-0.005-seed=1-v2.rds"),
    "gsm8k": ("gsm8k-2PL-EAPsum-0.001-seed=1.rds", "gsm8k-2PL-EAPsum-0.005-seed=1-v2.rds"),
    "mmlu": ("mmlu-3PL-MAP-0.01-seed=1.rds",),
    "truthfulqa": ("truthfulqa-2PL-EAPsum-0.01-seed=1.rds",),
    "winogrande": ("winogrande-4PL-MAP-0.005-seed=1.rds",),
}
TABLES = ("outcomes.parquet", "questions.parquet", "models.csv")
SAMPLE, SEED = 400, 0
BANDS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)  # billions of parameters; unknown ones are a band of their own
ORGANIZATIONS = (  # whose own releases make a pool like the paper's; some have no complete model
    "01-ai", "42dot", "AI-Sweden-Models", "CohereForAI", "EleutherAI", "GritLM", "HuggingFaceH4", "INSAIT-Institute",
    "Intel", "Nexusflow", "NousResearch", "Qwen", "SUSTech", "SeaLLMs", "TIGER-Lab", "TencentARC", "Unbabel",
    "Xwin-LM", "alignment-handbook", "allenai", "berkeley-nest", "bigcode", "codellama", "databricks", "deepseek-ai",
    "facebook", "google", "h2oai", "hfl", "huggyllama", "ise-uiuc", "kaist-ai", "lmsys", "meta-llama", "meta-math",
    "microsoft", "mistral-community", "mistralai", "mosaicml", "nvidia", "openai-community", "openchat", "rinna",
    "sail", "scb10x", "snorkelai", "speakleash", "teknium", "tiiuae", "tokyotech-llm", "upstage",
)
KINDS = {  # what a name tells, the first that it does
    "math": r"math|gsm", "code": r"(?<!de)(?<!en)cod(?:e|ing)|python",
    "chat": r"chat|instruct|[-_.]it(?![a-z0-9])|sft|dpo|rlhf|orpo|kto|assistant", "base": r"base(?![a-z])",
}
FAMILY = r"^(?:\w+\.)?([a-z0-9]+?)(?:for|lmhead|alpha|model|multiplehead|reward)"  # of an architecture's class
MIXTURES, MIXED = ("mixtral", "qwen2moe", "deepseek"), r"moe|\d+b?x\d"  # families, names: not all parameters are active


def load(path: Path, *, pool: str = "", duplicates: str = "first") -> OutcomeMatrix:
    """What `read` reads, without what is sealed (`seal.closed`), before anything is drawn or left out.

    Not the pool all: the seal was drawn from the complete models, and incomplete ones may be like sealed ones.
    """
    pool = _known(path, pool)
    if pool == "all":
        raise OutcomeError(f"{path}: a part of metabench's complete models is sealed, and the pool all would show "
                           f"others like them; POOL is one of {', '.join(POOLS[:-1])}")
    return _narrowed(closed(_whole(Path(path), duplicates), "metabench"), pool, Path(path))


def read(path: Path, pool: str = "", duplicates: str = "first") -> OutcomeMatrix:
    """Read the answers from a folder, prepared or as published, and keep the models of a pool.

    Parameters
    ----------
    path : Path
        Folder with ``outcomes.parquet`` (``model``, ``question_id``, ``score``), ``questions.parquet``
        (``question_id``, ``prompt``, ``benchmark``) and ``models.csv`` (``model``, ``parameters_b``, -1 = unknown,
        ``architecture``, "error" = unknown, ``moe``); or with files of `SUITES`, which may also lie in its sub-folder
        ``raw``, and perhaps the same ``models.csv``. Of the files those that are there are read.
    pool : {"sample", "complete", "paper-like", "all"}
        complete: models that answered every question, of those with exactly the same answers the first by name.
        sample: `SAMPLE` of these, drawn once for all, see `_sampled`. paper-like: complete ones of `ORGANIZATIONS`.
        all: every model, incomplete ones and repeats too. Blank: sample.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        Scores 0 and 1. Models by name: ``parameters_b`` and ``active_parameters_b`` (float64, billions, NaN where
        unknown; of quantized weights as many as the leaderboard counted), ``family`` (that of the architecture),
        ``kind`` (base, chat, code or math, where the name tells), ``base_model`` (unknown). Benchmarks: arc, gsm8k,
        mmlu, truthfulqa, winogrande. ``repairs`` names the repeats, what was left out and what was not there.

    Raises
    ------
    OutcomeError
        If the pool is unknown or empty, the folder holds neither form or a file cannot be read, `models.csv` lacks a
        model, a column or a number, or names a model that a prepared table does not hold, as `read_fit` for .rds
        files, and as `from_rows`.
    """
    pool = _known(path, pool)
    return _narrowed(_whole(Path(path), duplicates), pool, Path(path))


def _known(path: Path, pool: str) -> str:
    """The pool that is asked for."""
    if pool and pool not in POOLS:
        raise OutcomeError(f"{path}: metabench has no pool {pool!r}; POOL is one of {', '.join(POOLS)}")
    return pool or POOLS[0]


def _whole(path: Path, duplicates: str) -> OutcomeMatrix:
    """All models of a folder."""
    prepared = any((path / name).exists() for name in TABLES[:2])
    outcomes, questions, files, repairs = (_prepared if prepared else _published)(path)
    models, others, unknown = _models(path / TABLES[2], outcomes["model"])
    if prepared and others:
        raise OutcomeError(f"{path / TABLES[2]} names model(s) that {TABLES[0]} does not hold: {abbreviate(others)}")
    try:
        table = from_rows(
            outcomes, questions, models, duplicates=duplicates,
            provenance={"source": "metabench", "commit": COMMIT, "license": LICENSE,
                        **{file.relative_to(path).as_posix(): f"sha256 {checksum(file)}" for file in files}},
            repairs={**repairs, "models with facts and no outcomes, left out": len(others),
                     "models without a row of facts": unknown},
            files={Path(name).stem: str(path / name) for name in TABLES} if prepared else None,
        )
    except OutcomeError as error:
        raise OutcomeError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    missing = [suite for suite in SUITES if suite not in set(table.questions["benchmark"])]
    return replace(table, repairs={**table.repairs, "suites without a question": missing})


def _prepared(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[Path], dict]:
    """Outcomes and questions of a prepared folder, all its files, what was mended."""
    if missing := [name for name in TABLES if not (path / name).exists()]:
        raise OutcomeError(f"{path} lacks {' and '.join(missing)}; a prepared folder holds {', '.join(TABLES)}")
    outcomes, questions = (read_table(path / name) for name in TABLES[:2])
    require_columns(outcomes, path / TABLES[0], ["model"])
    return outcomes, questions, [path / name for name in TABLES], {}


def _published(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[Path], dict]:
    """Outcomes and questions of the .rds files in a folder or its sub-folder raw, the files, what was mended."""
    there = {file.name: file for folder in (path / "raw", path) for file in sorted(folder.glob("*.rds"))}
    suites = {name: suite for suite, files in SUITES.items() for name in files}
    files = [there[name] for name in suites if name in there]
    if not files:
        raise OutcomeError(
            f"{path} holds neither {', '.join(TABLES)} nor .rds files of metabench, as {SUITES['arc'][0]} (sought here "
            "and in raw); set DATA_DIR to a folder that holds either")
    answers, asked = [], []
    for file in files:
        suite = suites[file.name]
        scores, prompts = read_fit(file)
        answers.append(scores.rename(columns=lambda number, suite=suite: f"{suite}/{number}"))
        asked.append(pd.DataFrame({"question_id": answers[-1].columns, "prompt": prompts.to_numpy(),
                                   "benchmark": suite}))
    names = pd.Index(sorted({name for scores in answers for name in scores.index}))
    ids = pd.Index(dict.fromkeys(number for scores in answers for number in scores.columns))
    rows = [(np.repeat(names.get_indexer(scores.index), scores.shape[1]),
             np.tile(ids.get_indexer(scores.columns), len(scores))) for scores in answers]
    outcomes = pd.DataFrame({  # of millions of rows; categories keep each name once
        "model": pd.Categorical.from_codes(np.concatenate([model for model, _ in rows]), names),
        "question_id": pd.Categorical.from_codes(np.concatenate([question for _, question in rows]), ids),
        "score": np.concatenate([scores.to_numpy().ravel() for scores in answers]),
    })
    facts = [path / TABLES[2]] if (path / TABLES[2]).exists() else []
    return outcomes, pd.concat(asked, ignore_index=True).drop_duplicates(), [*files, *facts], {
        "published files that are not there": [name for name in suites if name not in there],
        "other .rds files, left out": sorted(there.keys() - suites.keys()),
    }


def _narrowed(table: OutcomeMatrix, pool: str, path: Path) -> OutcomeMatrix:
    """The table with the models of a pool of complete ones only, and what became of the others."""
    table = replace(table, provenance={**table.provenance, "pool": pool})
    if pool == "all":
        return table
    names, complete = table.models.index, table.observed.all(axis=1)
    listed = np.isin(names.str.partition("/").get_level_values(0), ORGANIZATIONS) | (pool != "paper-like")
    if not (complete & listed).any():
        raise OutcomeError(f"{path}: no model for the pool {pool} answered all {table.shape[1]:,} questions; POOL=all "
                           "takes incomplete ones")
    firsts: dict[bytes, str] = {}  # the models stand by name
    repeats = {}
    for name, row in zip(names[complete & listed], table.scores[complete & listed], strict=True):
        if (first := firsts.setdefault(row.tobytes(), name)) != name:
            repeats[name] = first
    kept = complete & listed & ~names.isin(list(repeats))
    different = int(kept.sum())
    if pool == "sample":
        pool_of = replace(table, scores=table.scores[kept], models=table.models[kept])
        kept = names.isin(_sampled(pool_of.models.assign(lineage=lineages(pool_of)), SAMPLE))
    return replace(
        table, scores=table.scores[kept], models=table.models[kept],
        repeats=table.repeats[table.repeats["model"].isin(names[kept])].reset_index(drop=True),
        repairs={
            **table.repairs,
            "models left out, incomplete": int((~complete).sum()),
            "complete models left out, of other organizations": int((complete & ~listed).sum()),
            "models left out, exact repeats of another": [f"{name} ({first})" for name, first in repeats.items()],
            "models left out, not drawn": different - int(kept.sum()),
        },
    )


def _sampled(models: pd.DataFrame, n: int) -> list[str]:
    """Draw models evenly from all strata of size and lineage.

    Every model stands in line, by stratum and within it by a hash of its name and `SEED`; the models at n evenly
    spaced places are drawn. So a stratum gives its share of n, rounded up or down, and the draw depends on neither the
    order of the rows nor a library's random numbers.

    Parameters
    ----------
    models : DataFrame, indexed by name
        Columns ``parameters_b`` (billions, NaN unknown), cut into `BANDS`, and ``lineage``.
    n : int
        How many; all where there are fewer.

    Returns
    -------
    list of str
        Names, stratum by stratum.
    """
    line = pd.DataFrame({
        "band": np.digitize(models["parameters_b"].fillna(-1), BANDS),
        "lineage": models["lineage"],
        "draw": [hashlib.sha256(f"{SEED} {name}".encode()).hexdigest() for name in models.index],
    }, index=models.index).sort_values(["band", "lineage", "draw"])
    n = min(n, len(line))
    return list(line.index[(2 * np.arange(n) + 1) * len(line) // (2 * n)])


def _models(file: Path, names: pd.Series) -> tuple[pd.DataFrame, list[str], int]:
    """Facts about the models that have outcomes, by name; models of the file without any; how many lack facts."""
    columns = ["model", "parameters_b", "architecture", "moe"]
    table = read_table(file) if file.exists() else pd.DataFrame(columns=columns, dtype=object)
    require_columns(table, file, columns)
    models, unknown = known_models(names.unique(), table[columns])
    if file.exists() and unknown:
        raise OutcomeError(f"{file} lacks model(s) that have outcomes: {abbreviate(unknown)}")
    others = sorted(map(str, set(table["model"]) - set(models["model"])))
    size = pd.to_numeric(coerce_numbers(models["parameters_b"]), errors="coerce").astype(np.float64)
    wrong = ~(size.gt(0) & np.isfinite(size) | size.eq(-1)) & models["model"].isin(table["model"])
    for number, row in models[wrong].head(1).iterrows():
        raise OutcomeError(f"{file}, row {number}: parameters_b of model {row['model']} must be a number above 0, or "
                           f"-1 where unknown, found {str(row['parameters_b'])[:60]!r}")
    size = size.where(size > 0)
    name = models["model"].str.lower().str.replace(r"^.*/", "", regex=True)
    family = models["architecture"].astype("str").str.replace(" ", "").str.lower().str.extract(FAMILY)[0]
    mixed = coerce_numbers(models["moe"]).eq("1") | name.str.contains(MIXED) | family.isin(MIXTURES) | family.isna()
    kind = pd.Series(np.nan, models.index, dtype="str")
    for told, pattern in KINDS.items():
        kind = kind.mask(kind.isna() & name.str.contains(pattern), told)
    models = pd.DataFrame({
        "model": models["model"], "family": family, "base_model": pd.Series(np.nan, models.index, dtype="str"),
        "kind": kind, "parameters_b": size, "active_parameters_b": size.mask(mixed)})
    models = models.sort_values("model").sort_values("model", key=lambda name: name.str.casefold(), kind="stable")
    return models, others, len(unknown)
