"""A pool in a file: new models join, questions are asked for, wrong input is told and loses nothing."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pandas as pd
import pytest

from embedllm import __main__ as command
from embedllm.experiments import small_pools
from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.new_models.onboarding import EVERYTHING, Shared, onboard
from embedllm.new_models.pool import Pool
from embedllm.outcomes import replace_unchecked, without


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_pools, "N_QUESTIONS", 400)
        patch.setattr(small_pools, "N_FRESH", 60)
        return small_pools.pool(11, 20, {})


@pytest.fixture
def pool(whole):
    table = without(whole.table, [whole.table.models.index[4]])
    table.questions["part"] = np.select([np.arange(400) % 8 == 0, np.arange(400) % 8 == 1], ["val", "test"], "train")
    return Pool.of(table, whole.vectors)


def answers_of(whole, model: int, ids) -> dict[str, float]:
    place = whole.table.questions.index.get_indexer(ids)
    return dict(zip(ids, whole.table.scores[model, place].tolist(), strict=True))


def test_a_model_joins_and_the_file_keeps_it(whole, pool, tmp_path):
    asked = pool.ask(60)
    assert len(set(asked["question_id"])) == 60 and len(set(asked["benchmark"])) > 3
    before = pool.predict_proba(whole.vectors[:9])
    found = pool.add("newcomer", answers_of(whole, 4, asked["question_id"].tolist()))
    rows = found.accuracies.set_index("benchmark")
    truth = whole.table.scores[4].mean()
    assert rows.loc[EVERYTHING, "low"] <= truth <= rows.loc[EVERYTHING, "high"]
    assert rows.loc[EVERYTHING, "asked"] == 60 == rows["asked"].sum() - 60
    assert not found.odd and len(found.similar) == 5 and (found.similar["distance"].diff()[1:] >= 0).all()
    after = pool.predict_proba(whole.vectors[:9])
    np.testing.assert_array_equal(after[:-1], before)
    shared = Shared(**pool.text)
    seen = np.full((1, len(pool.question_ids)), np.nan)
    for name, score in answers_of(whole, 4, asked["question_id"].tolist()).items():
        seen[0, pool.question_ids.index(name)] = score
    x = pool.embedding.question_vectors(whole.vectors[:9])[:, shared.used]
    ease, x[:, 0] = x[:, 0].copy(), 1
    there = replace(shared, design=x @ shared.root, offset=ease + x @ shared.mean, doubt=np.zeros(9))
    forecast = replace(onboard(shared, seen), shared=there).forecast()[0]
    np.testing.assert_allclose(after[-1], forecast, rtol=1e-5)
    assert pool.models[-1] == "newcomer" and after.shape == (20, 9) and ((after > 0) & (after < 1)).all()
    pool.save(tmp_path / "pool.npz")
    again = Forecaster.load(tmp_path / "pool.npz")
    np.testing.assert_array_equal(again.predict_proba(whole.vectors[:9]), after)
    other = {"one more": answers_of(whole, 2, asked["question_id"].tolist()[:9])}
    for one in (pool, again):
        np.testing.assert_allclose(one.add(*next(iter(other.items()))).vector, one.embedding.model_vectors[-1])
    assert again.ask(3, answers=other["one more"]).equals(pool.ask(3, answers=other["one more"]))


def test_a_relative_is_expected_near_its_own(whole, pool):
    lineages = whole.table.models["lineage"]
    own = next(name for name in pool.models if (lineages == lineages[name]).sum() > 1)
    asked = pool.question_ids[:1]
    usual, near = (pool.add(name, dict.fromkeys(asked, 1.0), relative) for name, relative in (("a", ""), ("b", own)))
    place = [at for at, name in enumerate(pool.models[:-2]) if lineages[name] == lineages[own]]
    center = pool.embedding.model_vectors[place].mean(axis=0)
    assert np.linalg.norm(near.vector - center) < np.linalg.norm(usual.vector - center)
    widths = [(one.accuracies["high"] - one.accuracies["low"])[0] for one in (near, usual)]
    assert widths[0] < widths[1]
    assert pool.lineages[-2:] == ["a", lineages[own]] and not pool.ask(4, relative=own).equals(pool.ask(4))
    with pytest.raises(ForecasterError, match=f"called {own}x; did you mean {own}"):
        pool.ask(4, relative=f"{own}x")
    with pytest.raises(ForecasterError, match="a joined by its answers, without relatives"):
        pool.ask(4, relative="a")
    assert not pool.ask(4, relative="b").equals(pool.ask(4))
    pool.known["within"][:] = np.nan
    with pytest.raises(ForecasterError, match="no two models of the pool come from one lineage"):
        pool.ask(4, relative=own)


def test_lineages_are_told_where_no_column_says_them(whole):
    models = whole.table.models.assign(base_model=whole.table.models["lineage"]).drop(columns="lineage")
    table = replace_unchecked(whole.table, models=models)
    assert Pool.of(table, whole.vectors).lineages == whole.table.models["lineage"].tolist()


def test_parts_without_one_that_validates_are_cut_as_where_there_are_none(whole):
    table = replace_unchecked(whole.table, questions=whole.table.questions.assign(part="train"))
    bare = replace_unchecked(table, questions=table.questions.drop(columns="part"))
    np.testing.assert_array_equal(*(Pool.of(one, whole.vectors).predict_proba(whole.vectors) for one in (table, bare)))


def test_a_size_tells_something_before_any_answer(whole, pool):
    asked = dict.fromkeys(pool.question_ids[:1], 1.0)
    small, large = (pool.add(name, asked, parameters_b=size) for name, size in (("small", 1.0), ("large", 200.0)))
    assert large.accuracies["value"][0] > small.accuracies["value"][0] + 0.05
    with pytest.raises(ForecasterError, match="a size of -1 billions of parameters"):
        pool.ask(3, parameters_b=-1)
    with pytest.raises(ForecasterError, match="a relative and a size are told"):
        pool.ask(3, relative=pool.models[0], parameters_b=7)
    asked = answers_of(whole, 4, pool.question_ids[:120])
    pool.known["given_size"] *= 1e-4
    pool.known["by_size"][0, 0] += 3  # as if a billion parameters made a giant
    with pytest.raises(ForecasterError, match="wrong answers like the pool, but not like models of 1 billion"):
        pool.add("wrong", asked, parameters_b=1.0)
    found = pool.add("right", asked)
    assert not found.odd and found.forecasts.index.tolist() == pool.question_ids and found.forecasts.between(0, 1).all()


def test_of_a_model_unlike_the_pool_intervals_say_what_its_answers_leave_possible(whole, pool):
    asked = pool.question_ids[::2]
    contrary = {name: 1 - score for name, score in answers_of(whole, 4, asked).items()}
    found = pool.add("contrary", contrary)
    rows = found.accuracies.set_index("benchmark")
    right, n = sum(contrary.values()), len(pool.question_ids)
    assert found.odd and rows.loc[EVERYTHING, ["low", "high"]].tolist() == pytest.approx(
        [right / n, (right + n - len(asked)) / n])
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    assert found.forecasts.isna().all() and "contrary" not in pool.models and len(pool.spreads) == 0
    assert pool.predict_proba(whole.vectors[:2]).shape == (19, 2)


def test_questions_are_asked_for_a_benchmark(pool):
    names = sorted(set(pool.benchmarks))
    near = pool.ask(6, target=names[0])
    assert (near["benchmark"] == names[0]).any()
    some = dict.fromkeys(near["question_id"], 1.0)
    assert not set(pool.ask(6, target=names[0], answers=some)["question_id"]) & set(some)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_all_right_and_all_wrong_have_an_answer(pool, score):
    found = pool.add("extreme", dict.fromkeys(pool.question_ids[:30], score))
    assert np.isfinite(found.vector).all() and found.accuracies.notna().all(axis=None)


@pytest.mark.parametrize(("name", "answers", "message"), [
    ("new", {}, "new has no answers"), ("new", {"q00001": 1.5}, "question q00001 has the score 1.5"),
    ("new", {"nowhere": 1.0}, r"1 answer\(s\) to questions that the pool does not hold"),
    ("new", {"q00001": float("nan")}, "has the score nan"), ("new", {"q00001": "1"}, "has the score '1'; scores are"),
    ("new", {"q00001": None}, "has the score None"),
    ("new", {PurePath("q00001"): 1.0, "q00001": 0.0}, "question q00001 has two scores, 1 and 0"),
    (" ", {"q00001": 1.0}, "the new model has no name"), ("", {"q00001": 1.0}, "the pool has a model")])
def test_wrong_input_is_told_and_changes_nothing(pool, name, answers, message):
    before, models = pool.embedding.model_vectors.copy(), list(pool.models)
    with pytest.raises(ForecasterError, match=message):
        pool.add(name or models[0], answers)
    np.testing.assert_array_equal(pool.embedding.model_vectors, before)
    assert pool.models == models


def test_a_pool_of_another_version_is_refused(whole, pool):
    of_today = vars(pool) | {"known": dict(pool.known)}
    del pool.known["within"]
    with pytest.raises(ForecasterError, match="saved by another version: fit and save it anew"):
        pool.ask(3)
    vars(pool).update(of_today)
    del pool.spreads
    for use in (lambda: pool.ask(3), lambda: pool.predict_proba(whole.vectors[:2])):
        with pytest.raises(ForecasterError, match="saved by another version: fit and save it anew"):
            use()


def test_wrong_wishes_are_told(pool):
    with pytest.raises(ForecasterError, match="no benchmark chess; it has"):
        pool.ask(3, target="chess")
    with pytest.raises(ForecasterError, match="0 questions are asked for"):
        pool.ask(0)


def test_the_command_line_asks_and_adds(whole, pool, tmp_path, capsys):
    file, answers = str(tmp_path / "pool.npz"), tmp_path / "answers.csv"
    pool.save(tmp_path / "pool.npz", "hashing")
    assert command.main(["ask", "--pool", file, "--n", "30"]) == 0
    asked = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(asked) == ["question_id", "benchmark", "prompt"] and len(asked) == 30
    given = answers_of(whole, 4, asked["question_id"].tolist())
    pd.Series(given, name="score").rename_axis("question_id").to_csv(answers)
    told = ["add", "--pool", file, "--name", "newcomer", "--answers", str(answers)]
    assert command.main([*told, "--save", str(tmp_path / "more.npz")]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert rows["kind"].unique().tolist() == ["mean score", "person fit", "distance", "vector"]
    assert command.main(["ask", "--pool", str(tmp_path / "more.npz"), "--n", "1", "--answers", str(answers)]) == 0
    assert pd.read_csv(io.StringIO(capsys.readouterr().out))["question_id"][0] not in set(asked["question_id"])
    assert Forecaster.load(tmp_path / "more.npz").models[-1] == "newcomer"
    answers.write_text("question_id,score\nq00001,1\nq00001,0\n")
    assert command.main(told) == 1 and "q00001 with different scores" in capsys.readouterr().err
    answers.write_text("question_id,score\nq00001,1\n,\n")
    assert command.main(told) == 0 and "mean score,all,1," in capsys.readouterr().out
    answers.write_text("id\nq00001\n")
    assert command.main(told) == 1 and "no columns question_id and score" in capsys.readouterr().err
    assert command.main(["ask", "--pool", str(tmp_path / "none.npz")]) == 1
    assert "is not there" in capsys.readouterr().err
    answers.unlink()
    assert command.main(told) == 1 and "answers.csv is not there" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(pool, tmp_path):
    pool.save(tmp_path / "pool.npz", "hashing")
    told = f"{sys.executable} -m embedllm ask --pool {tmp_path / 'pool.npz'} -n 40"
    done = subprocess.run(f"{told} | true", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
