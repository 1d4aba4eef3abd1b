"""metabench as prepared and as published: known tables, pools, the .rds files against the prepared table, bad input."""

import struct
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, damaged, read_or_refuse, sentence
from hypothesis import HealthCheck, given, settings

from embedllm.sources import metabench

DATA = SHARED / "metabench"
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
N = np.nan
ARC, TRUTH = (metabench.SUITES[suite][0] for suite in ("arc", "truthfulqa"))
REPEATS = "models left out, exact repeats of another"


def put(root, answers: dict, models: pd.DataFrame | None = None, suites=tuple(metabench.SUITES)):
    """Write a prepared folder: a row of answers for each model, questions that take turns among the suites."""
    wide = pd.DataFrame(answers, dtype=float)
    ids = [f"{suites[number % len(suites)]}/{number}" for number in range(len(wide))]
    rows = wide.set_axis(ids).rename_axis("question_id").melt(var_name="model", value_name="score", ignore_index=False)
    rows.reset_index().dropna().to_parquet(root / "outcomes.parquet")
    pd.DataFrame({"question_id": ids, "prompt": [f"What is {name}?" for name in ids],
                  "benchmark": [name.partition("/")[0] for name in ids]}).to_parquet(root / "questions.parquet")
    if models is None:
        models = facts(answers)
    models.to_csv(root / "models.csv", index=False)
    return root


def facts(names, parameters_b=7.24, architecture="MistralForCausalLM", moe=False):
    return pd.DataFrame({"model": list(names), "parameters_b": parameters_b, "architecture": architecture,
                         "moe": moe, "avg": 50.0})


SMALL = {"b/x": [1, 0, 1, 0, 1], "a/y": [0, 0, 1, 1, 1], "Qwen/z": [1, 0, 1, 0, 1], "c/w": [1, N, 1, 0, 1],
         "A/y": [0, 1, 0, 1, 0]}


def refusal(path, pool="all"):
    return sentence(lambda folder: metabench.read(folder, pool=pool), path)


# the prepared table itself


@pytest.fixture(scope="module")
def everything():
    if not DATA.exists():
        pytest.skip(f"no real data in {DATA} (set EMBEDLLM_TEST_DATA)")
    return metabench.read(DATA, pool="all")


def test_metabench_itself(everything):
    assert everything.shape == (6349, 1075) and everything.binary
    assert everything.observed.sum() == 5_097_418
    assert everything.questions["benchmark"].value_counts().to_dict() == {
        "gsm8k": 486, "arc": 245, "truthfulqa": 136, "winogrande": 106, "mmlu": 102}
    assert everything.observed.all(axis=1).sum() == 2001
    assert [name for name, value in everything.repairs.items() if value] == []
    assert everything.provenance["source"] == "metabench" and everything.provenance["commit"] == "fe74e29"
    assert "CC BY-NC-SA 4.0" in everything.provenance["license"]
    models = everything.models
    assert models["parameters_b"].isna().sum() == 529 and models["parameters_b"].min() > 0
    assert models["base_model"].isna().all()
    assert (models["active_parameters_b"].isna() | (models["active_parameters_b"] == models["parameters_b"])).all()
    assert models["family"].isna().sum() == 1103, "an architecture that the leaderboard could not read"
    assert models["family"].value_counts().head(4).index.tolist() == ["llama", "mistral", "mixtral", "gpt2"]
    assert models.loc["0-hero/Matter-0.1-7B-DPO-preview", ["family", "kind"]].tolist() == ["mistral", "chat"]


def test_the_pools_of_metabench(everything):
    complete, sample, like = (metabench.read(DATA, pool=pool) for pool in ("complete", "", "paper-like"))
    assert complete.shape == (1966, 1075) and complete.observed.all()
    assert len({row.tobytes() for row in complete.scores}) == 1966
    assert len(complete.repairs[REPEATS]) == 35
    assert complete.repairs["models left out, incomplete"] == 6349 - 2001
    assert sample.shape == (400, 1075) and sample.models.index.isin(complete.models.index).all()
    assert sample.repairs["models left out, not drawn"] == 1566
    assert sample.provenance["pool"] == "sample"
    for column in ("family", "kind"):
        shares = [table.models[column].fillna("").value_counts(normalize=True) for table in (complete, sample)]
        assert shares[0].sub(shares[1], fill_value=0).abs().max() < 0.025
    assert abs(sample.scores.mean() - complete.scores.mean()) < 0.01
    assert like.shape == (109, 1075) and like.observed.all()
    assert {"meta-llama/Meta-Llama-3-70B", "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen-72B"} <= set(like.models.index)
    for table in (complete, sample, like):
        pd.testing.assert_frame_equal(table.models, everything.models.loc[table.models.index])
        rows = everything.models.index.get_indexer(table.models.index)
        np.testing.assert_array_equal(table.scores, everything.scores[rows])


@pytest.mark.parametrize(("suite", "n_questions"), [("arc", 100), ("truthfulqa", 136)])
def test_what_is_published_equals_the_prepared_table(everything, tmp_path, suite, n_questions):
    """Cell for cell, gaps included, on the questions of a file; of ARC the other 145 are in a file not at hand."""
    pytest.importorskip("rdata", reason="the extra data is not installed")
    file = metabench.SUITES[suite][0]
    if not (DATA / "raw" / file).exists():
        pytest.skip(f"no {file} in {DATA / 'raw'}")
    (tmp_path / "raw").mkdir()
    for name in ("models.csv", f"raw/{file}"):
        (tmp_path / name).symlink_to(DATA / name)
    table = metabench.read(tmp_path, pool="all")
    assert table.shape == (4280, n_questions) and table.observed.all()
    asked = everything.questions.index.get_indexer(table.questions.index)
    answered = everything.observed[:, asked]
    assert (answered.all(axis=1) == answered.any(axis=1)).all()
    models = everything.models[answered.all(axis=1)]
    pd.testing.assert_frame_equal(table.models, models)
    np.testing.assert_array_equal(table.scores, everything.scores[answered.all(axis=1)][:, asked])
    pd.testing.assert_frame_equal(table.questions, everything.questions.iloc[asked], check_dtype=False)
    assert table.repairs["suites without a question"] == [name for name in metabench.SUITES if name != suite]
    assert len(table.repairs["published files that are not there"]) == 6
    assert table.repairs["models with facts and no outcomes, left out"] == 6349 - 4280


# small tables


def test_a_known_folder(tmp_path):
    models = pd.concat([
        facts(["a/y"], -1), facts(["b/x"], 46.7, "MixtralForCausalLM"), facts(["A/y"]), facts(["c/w"], moe=True),
        facts(["Qwen/z"], 6.5, "error")])
    table = metabench.read(put(tmp_path, SMALL, models), pool="all")
    assert list(table.models.index) == ["A/y", "a/y", "b/x", "c/w", "Qwen/z"], "by name, case aside"
    np.testing.assert_array_equal(table.scores, np.float32([SMALL[name] for name in table.models.index]))
    assert list(table.questions["benchmark"]) == list(metabench.SUITES)
    np.testing.assert_array_equal(table.models["parameters_b"], [7.24, N, 46.7, 7.24, 6.5])
    np.testing.assert_array_equal(table.models["active_parameters_b"], [7.24, N, N, N, N])
    assert table.models["family"].fillna("").tolist() == ["mistral", "mistral", "mixtral", "mistral", ""]
    assert set(table.provenance) >= {*metabench.TABLES, "commit", "license", "pool"}


def test_known_pools(tmp_path):
    put(tmp_path, SMALL)
    complete = metabench.read(tmp_path, pool="complete")
    assert list(complete.models.index) == ["A/y", "a/y", "b/x"]
    assert {name: value for name, value in complete.repairs.items() if value} == {
        "models left out, incomplete": 1, REPEATS: ["Qwen/z (b/x)"]}
    like = metabench.read(tmp_path, pool="paper-like")
    assert list(like.models.index) == ["Qwen/z"], "a release stays though a copy of it stands before it"
    assert like.repairs["complete models left out, of other organizations"] == 3
    assert metabench.read(tmp_path).fingerprint == complete.fingerprint, "where there are fewer than a sample, all"
    assert metabench.read(tmp_path, pool="").provenance["pool"] == "sample"


def test_the_sample_is_even_and_knows_no_order(tmp_path, monkeypatch, rng):
    """A stratum gives its share up to rounding, whatever the order of the files' rows."""
    monkeypatch.setattr(metabench, "SAMPLE", 10)
    monkeypatch.setattr(metabench, "lineages", lambda table: table.models["family"])
    names = [f"a/{number:02}" for number in range(40)]
    models = facts(names).assign(
        parameters_b=[3.0] * 20 + [30.0] * 12 + [-1.0] * 8,
        architecture=["LlamaForCausalLM"] * 12 + ["MistralForCausalLM"] * 28)
    put(tmp_path, dict(zip(names, rng.integers(0, 2, (40, 30)), strict=True)), models)
    table = metabench.read(tmp_path)
    assert table.models.fillna({"parameters_b": -1}).groupby(["parameters_b", "family"]).size().to_dict() == {
        (-1, "mistral"): 2, (3, "llama"): 3, (3, "mistral"): 2, (30, "mistral"): 3}
    outcomes = pd.read_parquet(tmp_path / "outcomes.parquet")
    outcomes.sample(frac=1, random_state=1).to_parquet(tmp_path / "outcomes.parquet")
    models.sample(frac=1, random_state=2).to_csv(tmp_path / "models.csv", index=False)
    assert metabench.read(tmp_path).fingerprint == table.fingerprint
    monkeypatch.setattr(metabench, "SEED", 1)
    assert metabench.read(tmp_path).fingerprint != table.fingerprint


def same_answers(names):
    return {name: [1, 0] for name in names}


def test_what_a_name_and_an_architecture_tell(tmp_path):
    told = {
        "a/MetaMath-7B-chat": "math", "a/deepseek-coder-6.7b-base": "code", "a/CodeLlama-7b-Instruct-hf": "code",
        "a/gemma-7b-it": "chat", "a/zephyr-7b-sft-full": "chat", "a/Mistral-7B-Instruct-v0.2": "chat",
        "chat/Yi-6B": "", "a/italia-9b": "", "a/decoder-1b": "", "a/TowerBase-7B": "base",
        "deepseek-llm-7b-base": "base",
    }
    table = metabench.read(put(tmp_path, same_answers(told)), pool="all")
    assert table.models["kind"].fillna("").to_dict() == told
    told = {
        "LlamaForCausalLM": "llama", "L l a m a F o r C a u s a l L M": "llama", "GPT2LMHeadCustomModel": "gpt2",
        "LlamaModel": "llama", "modeling_camelidae.LlamaForCausalLM": "llama", "GPTNeoXForCausalLM": "gptneox",
        "MistralForCausalLM QuietForCausalLM": "mistral", "PhiMultipleHeadsForCasualLM": "phi",
        "StableLMAlphaForCausalLM": "stablelm", "StableLmForCausalLM": "stablelm", "error": "",
    }
    names = [f"a/{number:02}" for number in range(len(told))]
    put(tmp_path, same_answers(names), facts(names, architecture=list(told)))
    table = metabench.read(tmp_path, pool="all")
    assert table.models["family"].fillna("").tolist() == list(told.values())
    mixtures = {"a/moe-3x7b": "LlamaForCausalLM", "a/Yi-34Bx2": "LlamaForCausalLM", "a/b": "DeepseekForCausalLM"}
    put(tmp_path, same_answers(mixtures), facts(mixtures, architecture=list(mixtures.values())))
    assert metabench.read(tmp_path, pool="all").models["active_parameters_b"].isna().all()


def test_repeated_rows_follow_the_rule(tmp_path):
    put(tmp_path, SMALL)
    outcomes = pd.read_parquet(tmp_path / "outcomes.parquet")
    again = outcomes[outcomes["model"] == "b/x"].assign(score=1.0)
    pd.concat([outcomes, again]).to_parquet(tmp_path / "outcomes.parquet")
    assert list(metabench.read(tmp_path, pool="complete").models.index) == ["A/y", "a/y", "b/x"]
    table = metabench.read(tmp_path, pool="complete", duplicates="max")
    assert list(table.models.index) == ["A/y", "a/y", "b/x", "Qwen/z"], "Qwen/z repeats b/x no longer"
    np.testing.assert_array_equal(table.scores[2], 1)
    assert len(table.repeats) == 10
    assert len(metabench.read(tmp_path, pool="paper-like").repeats) == 0


# bad input


def test_nothing_to_read(tmp_path):
    assert "holds neither" in refusal(tmp_path / "absent")
    assert "holds neither" in refusal(tmp_path)
    (tmp_path / "other.rds").write_bytes(b"")
    assert "holds neither" in refusal(tmp_path)


@pytest.mark.parametrize("name", metabench.TABLES)
def test_a_table_that_is_missing(tmp_path, name):
    (put(tmp_path, SMALL) / name).unlink()
    assert f"lacks {name}" in refusal(tmp_path)


def test_pools_that_are_not_there(tmp_path):
    put(tmp_path, {"a/x": [1, 0, N], "a/y": [N, 0, 1]})
    assert "no pool 'best'; POOL is one of sample, complete, paper-like, all" in refusal(tmp_path, "best")
    assert "no model for the pool sample answered all 3 questions" in refusal(tmp_path, "sample")
    put(tmp_path, {"a/x": [1, 0, 1]})
    assert "no model for the pool paper-like" in refusal(tmp_path, "paper-like")


@pytest.mark.parametrize(("change", "message"), [
    (lambda models: models[1:], "models.csv lacks model(s) that have outcomes: b/x"),
    (lambda models: pd.concat([models, facts(["d/new"])]), "names model(s) that outcomes.parquet does not hold: d/new"),
    (lambda models: pd.concat([models, facts(["b/x"])]), "model that stands in an earlier row as well: row"),
    (lambda models: models.drop(columns=["parameters_b", "moe"]), "lacks the column(s) parameters_b, moe"),
    (lambda models: models.assign(parameters_b="many"), "row 2: parameters_b of model b/x must be a number above 0"),
    (lambda models: models.assign(parameters_b=0), "found '0'"),
    (lambda models: models.assign(parameters_b=-2), "found '-2'"),
    (lambda models: models.assign(parameters_b=np.inf), "found 'inf'"),
    (lambda models: models.assign(parameters_b=""), "must be a number above 0"),
])
def test_unusable_facts(tmp_path, change, message):
    assert message in refusal(put(tmp_path, SMALL, change(facts(SMALL))))


@pytest.mark.parametrize(("change", "message"), [
    (lambda rows: rows.assign(score=2.0), "outcomes.parquet: score that is no number in [0, 1]: row 1 "),
    (lambda rows: rows.drop(columns="model"), "outcomes.parquet lacks the column(s) model"),
    (lambda rows: rows.drop(columns="score"), "outcomes.parquet lacks the column(s) score"),
    (lambda rows: rows.assign(question_id="arc/99"), "question that "),
    (lambda rows: rows[:0], "names model(s)"),
])
def test_unusable_outcomes(tmp_path, change, message):
    put(tmp_path, SMALL)
    change(pd.read_parquet(tmp_path / "outcomes.parquet")).to_parquet(tmp_path / "outcomes.parquet")
    assert message in refusal(tmp_path)


# published files, written as R does


class R:
    """An R value with attributes; without a value it is an S4 object and the attributes are its slots."""

    def __init__(self, value=None, **attributes):
        self.value, self.attributes = value, attributes


def serialized(top) -> bytes:
    """A value as R's saveRDS writes it, uncompressed: nested dict, list, array, list of texts, `R`."""
    symbols: list[str] = []

    def integers(*values):
        return struct.pack(f">{len(values)}i", *values)

    def char(text):
        return integers(9, -1) if text is None else integers(9 | 8 << 12, len(text.encode())) + text.encode()

    def symbol(name):
        if name in symbols:
            return integers(255 | (symbols.index(name) + 1) << 8)
        symbols.append(name)
        return integers(1) + char(name)

    def node(value):
        attributes = {}
        if isinstance(value, R):
            value, attributes = value.value, value.attributes
            if value is None:
                return integers(25 | 1 << 8 | 1 << 9) + pairs(attributes)
        if value is None:
            return integers(254)
        if isinstance(value, dict):
            value, attributes = list(value.values()), attributes | {"names": list(value)}
        flag = bool(attributes) << 9
        if isinstance(value, np.ndarray):
            kind, numbers = (13, ">i4") if value.dtype.kind == "i" else (14, ">f8")
            body = integers(kind | flag, value.size) + value.ravel(order="F").astype(numbers).tobytes()
        elif all(isinstance(one, str | None) for one in value) and value != [None]:
            body = integers(16 | flag, len(value)) + b"".join(map(char, value))
        else:
            body = integers(19 | flag, len(value)) + b"".join(map(node, value))
        return body + (pairs(attributes) if attributes else b"")

    def pairs(attributes):
        return b"".join(integers(2 | 1 << 10) + symbol(name) + node(one) for name, one in attributes.items()
                        ) + integers(254)

    return b"X\n" + integers(2, 0x30500, 0x20300) + node(top)


def matrix(values, rows, columns):
    values = np.asarray(values)
    return R(values, dim=np.array(values.shape, "i4"), dimnames=[rows, columns])


def fit(answers: dict, prompts: dict) -> dict:
    """The parts of a published file that count: rows of answers by model, prompts by item in an order of their own."""
    values = np.array(list(answers.values()))
    data = matrix(values, [str(row + 1) for row in range(len(values))], sorted(prompts))
    return {
        "items": R({"item": list(prompts), "prompt": list(prompts.values())}, **{"class": ["data.frame"]}),
        "model": R(Call=None, Data={"rowID": np.arange(3, dtype="i4"), "data": data}),
        "theta.train": matrix(np.zeros((len(answers), 2)), list(answers), ["F1", "SE_F1"]),
    }


MISSING = -(2**31)  # R's NA among whole numbers
KNOWN = fit({"a/x": [1, 0, MISSING], "b/y": [0, 0, 1]}, {
    "7": "Question: Who?\nAnswer: me\n\nQuestion: Why \u00e9?\nAnswer:", "10": "Question: What?\nAnswer:",
    "8": "Plain"})
GOOD = serialized(KNOWN)


@pytest.fixture
def rdata():
    return pytest.importorskip("rdata", reason="the extra data is not installed")


def test_known_published_files(tmp_path, rdata):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ARC).write_bytes(GOOD)
    (tmp_path / TRUTH).write_bytes(serialized(fit({"c": [1.0], "b/y": [0.0]}, {"10": "Q: A?\nA: b\n\nQ: C?\nA:"})))
    (tmp_path / "hellaswag-3PL-MAP-0.01-seed=1.rds").write_bytes(b"not looked at")
    table = metabench.read(tmp_path, pool="all")
    assert list(table.models.index) == ["a/x", "b/y", "c"]
    assert list(table.questions.index) == ["arc/10", "arc/7", "arc/8", "truthfulqa/10"]
    assert list(table.questions["prompt"]) == ["What?", "Why \u00e9?", "Plain", "C?"]
    assert list(table.questions["benchmark"]) == ["arc", "arc", "arc", "truthfulqa"]
    np.testing.assert_array_equal(table.scores, [[1, 0, N, N], [0, 0, 1, 0], [N, N, N, 1]])
    assert {name: value for name, value in table.repairs.items() if value} == {
        "published files that are not there": [name for files in metabench.SUITES.values() for name in files
                                               if name not in (ARC, TRUTH)],
        "other .rds files, left out": ["hellaswag-3PL-MAP-0.01-seed=1.rds"],
        "models without a row of facts": 3,
        "suites without a question": ["gsm8k", "mmlu", "winogrande"],
    }
    assert {f"raw/{ARC}", TRUTH} <= set(table.provenance)
    facts(["a/x", "b/y", "c", "d"]).to_csv(tmp_path / "models.csv", index=False)
    known = metabench.read(tmp_path)
    assert list(known.models.index) == ["b/y"] and known.models["family"].tolist() == ["mistral"]
    assert known.repairs["models with facts and no outcomes, left out"] == 1
    facts(["a/x", "b/y"]).to_csv(tmp_path / "models.csv", index=False)
    assert "models.csv lacks model(s) that have outcomes: c" in refusal(tmp_path)


def test_rdata_is_not_installed(tmp_path, monkeypatch):
    (tmp_path / ARC).write_bytes(GOOD)
    for name in ("rdata", "rdata.parser"):
        monkeypatch.setitem(sys.modules, name, None)
    assert refusal(tmp_path) == (
        f"{tmp_path / ARC}: reading metabench's .rds files needs the package rdata: make setup EXTRAS=data")


@pytest.mark.parametrize(("change", "message"), [
    ({"items": None}, "is no fitted test of metabench"),
    ({"items": {"item": ["7", "8", "10"]}}, "is no fitted test of metabench ('prompt')"),
    ({"items": {"item": ["7"], "prompt": ["Why?"]}}, "is no fitted test"),
    ({"model": None}, "is no fitted test"),
    ({"model": R(Call=None)}, "is no fitted test of metabench ('Data')"),
    ({"theta.train": np.zeros(2)}, "is no fitted test of metabench ('dimnames')"),
    ({"theta.train": matrix(np.zeros((2, 1)), ["a", "a"], ["F1"])}, "a model without a name or with that of another"),
    ({"theta.train": matrix(np.zeros((2, 1)), ["a", None], ["F1"])}, "a model without a name"),
    ({"theta.train": matrix(np.zeros((3, 1)), ["a", "b", "c"], ["F1"])}, "cannot reshape array"),
])
def test_an_rds_without_what_is_expected(tmp_path, rdata, change, message):
    (tmp_path / ARC).write_bytes(serialized(KNOWN | change))
    assert message in refusal(tmp_path)


def test_unusable_published_files(tmp_path, rdata):
    for content in (b"", b"text", GOOD[:-9], serialized(np.zeros(3))):
        (tmp_path / ARC).write_bytes(content)
        assert ARC in refusal(tmp_path)
    (tmp_path / ARC).write_bytes(serialized(fit({"a": [0.5, 1]}, {"1": "x", "2": "y"})))
    assert "neither 0 nor 1" in refusal(tmp_path)
    (tmp_path / ARC).write_bytes(serialized(fit({"a": [0.0, 1]}, {"1": "x", "2": "Q:\nA:"})))
    assert "prompt that is blank" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore:Tag not implemented")  # rdata's, about a tag that a flip made
@FUZZ
@given(content=damaged(GOOD))
def test_cuts_and_flips_of_a_published_file(tmp_path, rdata, content):
    (tmp_path / ARC).write_bytes(content)
    read_or_refuse(lambda path: metabench.read(path, pool="all"), tmp_path)


@FUZZ
@given(content=damaged(facts(SMALL).to_csv(index=False).encode()))
def test_cuts_and_flips_of_the_facts(tmp_path, content):
    (put(tmp_path, SMALL) / "models.csv").write_bytes(content)
    read_or_refuse(metabench.read, tmp_path)
