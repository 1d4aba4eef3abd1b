"""Logs of the lm-evaluation-harness: written by the harness itself, by hand for each rule, and damaged at random."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources import lm_eval
from embedllm.sources._lm_eval_prompts import BEGINNING, CUT, WHOLE

TASKS = Path(__file__).parent / "lm_eval_tasks"
OLD, NEW = "2024-05-01T10-00-00.123456", "2024-05-02T09-00-00"
N = np.nan
OLDER, FEWER = "older runs of a task, not counted", "newer runs of a task with fewer documents, not counted"
VARIANTS = "variants of a model, told apart by name"


def sample(doc_id=0, score=1.0, **changes) -> dict:
    """A line as the harness writes it; a key changed to ... is left out."""
    line = {
        "doc_id": doc_id, "doc": {"q": f"what is {doc_id}?"}, "target": "1",
        "arguments": {"gen_args_0": {"arg_0": f"Q: {doc_id}\nA:", "arg_1": " yes"},
                      "gen_args_1": {"arg_0": f"Q: {doc_id}\nA:", "arg_1": " no"}},
        "resps": [[["-1.5", "False"]]], "filtered_resps": [["-1.5", "False"]], "filter": "none", "metrics": ["acc"],
        "doc_hash": f"hash of {doc_id}", "prompt_hash": "p", "target_hash": "t", "acc": score, **changes,
    }
    return {key: value for key, value in line.items() if value is not ...}


def put(folder: Path, lines, task="quiz", time=NEW, results=None, suffix="jsonl", stem="results") -> Path:
    """Write a file of samples (objects, or lines as they are) and, if given, the results beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    file = folder / f"samples_{task}{time and f'_{time}'}.{suffix}"
    file.write_text(text, encoding="utf-8")
    if results is not None:
        (folder / f"{stem}_{time}.json").write_text(json.dumps(results), encoding="utf-8")
    return file


def cells(table: OutcomeMatrix) -> dict:
    """{(model, question): score} of the observed cells."""
    return {(table.models.index[m], table.questions.index[q]): float(table.scores[m, q])
            for m, q in np.argwhere(table.observed)}


# what the harness itself writes


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Logs of two models, one of them run twice, by the harness in a process of its own and without a network."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    folder = tmp_path_factory.mktemp("harness")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "harness.py", str(folder / "logs")], cwd=TASKS, env=os.environ | offline, capture_output=True,
        text=True, timeout=300, check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "logs"


def first_results(logs: Path, folder: str) -> dict:
    """Of the run that counts: a later one was limited to five documents a task."""
    return json.loads(min(logs.glob(f"{folder}/results_*.json")).read_text(encoding="utf-8"))


def test_harness_models_questions_and_groups(written):
    table = lm_eval.load(written)
    assert list(table.models.index) == ["owner/large", "owner/small"]
    counts = table.questions.groupby(["benchmark", "sub_benchmark"]).size().to_dict()
    assert counts == {("echo", "echo"): 8, ("living", "birds"): 8, ("living", "fish"): 6, ("living", "trees"): 7,
                      ("planets", "planets"): 9}
    prompt = table.questions.loc["planets/1", "prompt"]
    assert prompt == "Question: Is the planet Jupiter larger than \u201cSaturn\u201d?\nAnswer:"
    assert len(table.repairs[FEWER]) == 5, "the newest run of one model was limited to five documents a task"
    assert table.repairs["files with several filters, the first taken"] == 2
    assert not len(table.repeats)


@pytest.mark.parametrize(("metric", "of_choice", "of_text"), [
    ("", "acc,none", "exact_match,whole"),
    ("acc_norm", "acc_norm,none", "exact_match,whole"),
    ("exact_match,ending", "acc,none", "exact_match,ending"),
])
def test_harness_scores(written, metric, of_choice, of_text):
    """Every mean is what the harness reports, and every cell what its fullest file of samples says."""
    table = lm_eval.load(written, metric=metric)
    expected = {}
    for model, folder in {"owner/large": "owner__large", "owner/small": "owner__small"}.items():
        results = first_results(written, folder)["results"]
        row = table.scores[table.models.index.get_loc(model)]
        for task in ("planets", "birds", "fish", "trees", "echo"):
            name, kept = (of_text if task == "echo" else of_choice).split(",")
            mean = np.nanmean(row[(table.questions["sub_benchmark"] == task).to_numpy()])
            assert mean == pytest.approx(results[task][f"{name},{kept}"], abs=1e-6)
            for line in min((written / folder).glob(f"samples_{task}_*")).read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                if said["filter"] == kept:
                    expected[model, f"{task}/{said['doc_id']}"] = said[name]
        if metric == "":
            mean = np.nanmean(row[(table.questions["benchmark"] == "living").to_numpy()])
            assert mean == pytest.approx(results["living"]["acc,none"], abs=1e-6)
    assert cells(table) == expected
    assert len(expected) == 2 * 38


def test_harness_logs_without_hashes(written, tmp_path):
    """Early versions wrote no hashes, filters and metrics, and arguments as lists: the documents are the same ones."""
    for file in written.glob("*/samples_*"):
        target = tmp_path / file.relative_to(written)
        target.parent.mkdir(exist_ok=True)
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if file.parent.name == "owner__large":
            for line in lines:
                for key in ("doc_hash", "filter", "metrics", "prompt_hash", "target_hash"):
                    del line[key]
                line["arguments"] = [list(request.values()) for request in line["arguments"].values()]
        target.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    table, early = lm_eval.load(written), lm_eval.load(tmp_path)
    assert cells(early) == cells(table)
    assert early.questions["prompt"].equals(table.questions["prompt"])


def test_harness_worked_examples_are_cut(written):
    """Two shots, cut, leave the prompts without any; planets and lakes draw them anew, rivers has the same for all."""
    none, two = (lm_eval.load(written.with_name(f"{written.name}-{shots}")) for shots in (0, 2))
    assert not any(none.repairs[kind] for kind in (CUT, BEGINNING, WHOLE))
    assert (two.repairs[CUT], two.repairs[BEGINNING], two.repairs[WHOLE]) == (9 + 7 + 7, 0, 7)
    expected, prompts = none.questions["prompt"], two.questions["prompt"]
    for task in ("planets", "lakes"):
        here = two.questions["sub_benchmark"] == task
        assert prompts[here].equals(expected[here])
    for question in expected.index[two.questions["sub_benchmark"] == "rivers"]:  # its description is a template
        assert expected[question] == "Read about rivers and answer.\n\n" + prompts[question]
    whole = prompts[two.questions["sub_benchmark"] == "brooks"]  # blank lines in the questions, no common first word
    assert (whole.str.count("miles[?]") == 3).all()


def test_harness_worked_examples_without_results(written, tmp_path):
    folder = written.with_name(f"{written.name}-2")
    for file in folder.glob("*/samples_*"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    table, known = lm_eval.load(tmp_path), lm_eval.load(folder)
    rivers = table.questions["sub_benchmark"] == "rivers"
    assert table.questions["prompt"][rivers].equals(known.questions["prompt"][rivers])
    assert table.repairs[CUT] == 0 and table.repairs[BEGINNING] >= 7


# each rule, by hand


def shot(number, n=2, blank=False):
    examples = [f"Q: old {n * number + place}?\nA: yes" for place in range(n)]
    return "\n\n".join([*examples, f"Q: new {number}?" + "\n\nmore" * blank + "\nA:"])


@pytest.mark.parametrize(("prompts", "results", "kept"), [
    ([shot(n) for n in range(3)], {"n-shot": {"quiz": 2}}, ["Q: new 0?\nA:", "Q: new 1?\nA:", "Q: new 2?\nA:"]),
    ([shot(n) for n in range(3)], {"n-shot": {"quiz": 0}}, None),
    ([shot(n) for n in range(3)], {"n-shot": {"quiz": 2}, "chat_template": "x", "fewshot_as_multiturn": True}, None),
    ([shot(n, blank=True) for n in range(4)], {"n-shot": {"quiz": 2}}, None),  # too few to see what they share
    ([shot(n, blank=True) for n in range(5)], {"n-shot": {"quiz": 2}}, [f"Q: new {n}?\n\nmore\nA:" for n in range(5)]),
    ([f"same\n\nQ {n}" for n in range(5)], None, [f"Q {n}" for n in range(5)]),
    ([f"same\n\nQ {n}" for n in range(4)], None, None),
    ([json.dumps([{"role": role, "content": f"{role} {n} {turn}"}
                  for turn, role in enumerate(["system", "user", "assistant", "user"])]) for n in range(2)],
     {"n-shot": {"quiz": 1}},
     [f"system {n} 0\n\nuser {n} 3" for n in range(2)]),
])
def test_worked_examples(tmp_path, prompts, results, kept):
    put(tmp_path / "a", [sample(n, arguments=[[text, " yes"]]) for n, text in enumerate(prompts)], results=results)
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].tolist() == (kept or prompts)
    assert table.repairs[CUT] + table.repairs[BEGINNING] == len(kept or [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chat", [False, True])
def test_worked_examples_without_an_answer(tmp_path, chat, seed):
    """An example with an empty answer has no delimiter after it; each begins with the line the question begins with."""
    rng, prompts = np.random.default_rng(seed), []
    examples = ["Text: Ann in Rome PER: Ann\n\n", "Text: nobody", "Text: no one", "Text: Bob PER: Bob\n\n"]
    for n in range(6):
        before = [f"Label the names.\n\n{text}" for text in rng.permutation(examples)[:2]]
        prompts.append("".join([*before, f"Label the names.\n\nText: number {n}"]))
    texts = [json.dumps([{"role": "user", "content": text}]) if chat else text for text in prompts]
    put(tmp_path, [sample(n, arguments=[[text, {}]]) for n, text in enumerate(texts)], results=told(shots=2))
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].tolist() == [f"Label the names.\n\nText: number {n}" for n in range(6)]
    assert table.repairs[CUT] == 6


def test_delimiters_end_examples_only_where_each_has_one(tmp_path):
    """Two examples, one without an answer, and a question with a blank line: as many delimiters as examples."""
    prompts = [f"Q: {n}{n}? A: yes\n\nQ: old {n}?{n}: part one\n\npart two" for n in range(3)]
    prompts.append("Q: a?Q: b?Q: c?")
    put(tmp_path, [sample(n, arguments=[[text, {}]]) for n, text in enumerate(prompts)], results=told(shots=2))
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].tolist() == prompts and table.repairs[WHOLE] == 4


@pytest.mark.parametrize("escaped", [False, True])
def test_chats_are_their_text(tmp_path, escaped):
    """One turn with the examples in it, escaped or not: the system's text and the question."""
    for name in "ab":
        lines = []
        for n in range(6):
            chat = [{"role": "system", "content": "Sei kurz, \u00fcberall."},
                    {"role": "user", "content": f"Q: one?\nA: 1\n\nQ: two?\nA: 2\n\nQ: \ud55c {n}?\nA:"}]
            lines.append(sample(n, arguments=[[[json.dumps(chat, ensure_ascii=escaped and name == "a")], {}]]))
        put(tmp_path / name, lines, results=told(f"org/{name}", shots=2, fewshot_as_multiturn=False))
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].tolist() == [f"Sei kurz, \u00fcberall.\n\nQ: \ud55c {n}?\nA:" for n in range(6)]
    assert table.repairs[CUT] == 6 and not table.repairs["questions with different prompts, the commonest kept"]


def test_order_gaps_and_checksums(tmp_path):
    put(tmp_path / "b", [sample(10, 0), sample(2, 0.25), sample("x", True)])
    file = put(tmp_path / "a", [sample(2, 1)], suffix="json")
    table = lm_eval.load(tmp_path)
    assert list(table.questions.index) == ["quiz/2", "quiz/10", "quiz/x"]
    np.testing.assert_array_equal(table.scores, np.array([[1, N, N], [0.25, 0, 1]], np.float32))
    assert table.provenance["source"] == "lm-eval"
    assert table.provenance[f"a/{file.name}"].startswith("sha256 ")
    assert table.provenance["tasks scored by acc,none"] == "quiz"


@pytest.mark.parametrize(("lines", "metric", "expected"), [
    ([sample(metrics=["acc_norm", "acc"], acc=0, acc_norm=1)], "", 0),
    ([sample(metrics=["acc_norm", "acc"], acc=0, acc_norm=1)], "acc_norm", 1),
    ([sample(metrics=["f1", "exact_match"], acc=..., f1=1, exact_match=0.5)], "", 0.5),
    ([sample(metrics=["ppl", "words", "f1"], acc=..., ppl=[-3.0, 4], words=17, f1=0.25)], "", 0.25),
    ([sample(metrics=..., filter=..., score=..., acc=..., doc_hash=..., mcc=0.75)], "", 0.75),
    ([sample(filter="strict"), sample(filter="loose", score=0)], "", 1),
    ([sample(filter="strict"), sample(filter="loose", score=0)], "acc", 1),
    ([sample(filter="strict"), sample(filter="loose", score=0)], "acc,loose", 0),
    ([sample(filter="strict"), sample(filter="loose", score=0)], " acc, loose ", 0),
])
def test_metric_and_filter(tmp_path, lines, metric, expected):
    put(tmp_path / "a", [{key: value for key, value in line.items() if key != "score"} for line in lines])
    table = lm_eval.load(tmp_path, metric=metric)
    assert table.scores.tolist() == [[expected]]
    several = len(lines) > 1 and "loose" not in metric
    assert table.repairs["files with several filters, the first taken"] == several


def test_named_metric_only_where_logged(tmp_path):
    put(tmp_path / "a", [sample(acc=0, acc_norm=1, metrics=["acc", "acc_norm"])], task="arc")
    put(tmp_path / "a", [sample(acc=..., exact_match=0.5, metrics=["exact_match"])], task="sums")
    table = lm_eval.load(tmp_path, metric="acc_norm")
    assert cells(table) == {("a", "arc/0"): 1, ("a", "sums/0"): 0.5}
    assert table.provenance["tasks scored by exact_match,none"] == "sums"
    for metric in ("acc_nrom", "acc_norm,strict"):
        with pytest.raises(OutcomeError) as error:
            lm_eval.load(tmp_path, metric=metric)
        assert str(error.value) == (
            f"no log holds the metric {metric}; they hold acc,none, acc_norm,none, exact_match,none"
        )


def test_metric_does_not_depend_on_the_first_line(tmp_path):
    lines = [sample(0, acc=..., f1=0.5, metrics=["f1", "acc"]), sample(1, 1, f1=0), sample(2, N), sample(3, None)]
    for place in range(4):
        put(tmp_path / "a", lines[place:] + lines[:place])
        table = lm_eval.load(tmp_path)
        assert cells(table) == {("a", "quiz/1"): 1}
        assert table.repairs["samples without the metric, taken as never asked"] == 3
    put(tmp_path / "a", [sample(0, N), sample(1, None)])
    with pytest.raises(OutcomeError, match="holds no acc,none, every value is missing or NaN; run the task again"):
        lm_eval.load(tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_lower_is_better_is_no_correctness(tmp_path, known):
    def put_all(metrics, **lower):
        for name in "abc":
            results = told(f"org/{name}", **({"higher_is_better": {"quiz": lower}} if known else {}))
            put(tmp_path / name, [sample(**({"acc": ..., "metrics": list(metrics)} | metrics))], results=results)

    put_all({"pct_stereotype": 1, "likelihood_diff": 3.25}, pct_stereotype=False, likelihood_diff=False)
    with pytest.raises(OutcomeError, match=r"^quiz logs only metrics for which lower is better \(pct_ster"):
        lm_eval.load(tmp_path)
    with pytest.raises(OutcomeError, match=r"^for pct_stereotype of quiz lower is better, .*; leave the task out"):
        lm_eval.load(tmp_path, metric="pct_stereotype")
    put_all({"word_perplexity": 0.5, "f1": 0.25}, word_perplexity=False, f1=True)
    assert (lm_eval.load(tmp_path).scores == 0.25).all()
    if known:
        put_all({"acc": 1, "exact_match": 0.5, "ter": 0.75}, acc=False)
        assert (lm_eval.load(tmp_path).scores == 0.5).all()
        put_all({"ter": 0.75}, ter=True)
        assert (lm_eval.load(tmp_path).scores == 0.75).all()


def test_metric_for_each_task(tmp_path):
    for name in "ab":
        put(tmp_path / name, [sample(acc=..., strict=1, loose=0, metrics=["strict", "loose"])], task="orders")
        put(tmp_path / name, [sample(acc=..., bleu=0.25, rouge=0.5, filter=kept, metrics=["bleu", "rouge"])
                              for kept in ("whole", "last")], task="tales")
    with pytest.raises(OutcomeError) as error:
        lm_eval.load(tmp_path)
    assert str(error.value) == (
        "several metrics could be the score of orders (strict, loose), tales (bleu, rouge); name one, such as METRIC = "
        '"orders=strict; tales=bleu"'
    )
    with pytest.raises(OutcomeError, match=r'METRIC = "rouge; orders=strict"$'):
        lm_eval.load(tmp_path, metric="rouge")
    for metric in ("orders=strict; tales=rouge", " tales = rouge , last;orders=strict;", "rouge,last; orders=strict"):
        assert lm_eval.load(tmp_path, metric=metric).scores.tolist() == [[1, 0.5]] * 2
    put(tmp_path / "c", [sample(acc=..., ppl=0.5, metrics=["ppl"])], task="words")
    with pytest.raises(OutcomeError, match=r'^words logs only .*; several .* METRIC = "orders=strict; tales=bleu"$'):
        lm_eval.load(tmp_path)
    (tmp_path / "c" / f"samples_words_{NEW}.jsonl").unlink()
    table = lm_eval.load(tmp_path, metric="orders=loose; tales=bleu,last; acc")
    assert table.scores.tolist() == [[0, 0.25]] * 2
    assert table.provenance["tasks scored by bleu,last"] == "tales"


@pytest.mark.parametrize(("metric", "message"), [
    ("quizz=acc", "METRIC names the task 'quizz', which no log is of; there are quiz$"),
    ("quiz=f1", "quiz does not log f1, named in METRIC; it logs acc$"),
    ("quiz=acc,strict", "quiz does not log acc,strict, named in METRIC; it logs acc,none$"),
    ("quiz=", "no metric for quiz"),
    ("acc; f1", "two metrics for all other tasks"),
    ("quiz=acc; quiz=f1", "two metrics for quiz"),
])
def test_wrong_metric_names(tmp_path, metric, message):
    put(tmp_path / "a", [sample()])
    with pytest.raises(OutcomeError, match=message):
        lm_eval.load(tmp_path, metric=metric)


def test_metric_left_out_of_a_document(tmp_path):
    put(tmp_path / "a", [sample(0), sample(1, ...)])
    put(tmp_path / "b", [sample(0), sample(1)])
    table = lm_eval.load(tmp_path)
    np.testing.assert_array_equal(table.scores, [[1, N], [1, 1]])
    assert table.repairs["samples without the metric, taken as never asked"] == 1


@pytest.mark.parametrize(("line", "message"), [
    (sample(metrics=["f1", "em"], acc=..., f1=1, em=0), r"score of quiz \(f1, em\); name one, .* METRIC = \"f1\"$"),
    (sample(metrics=["odd"], acc=..., odd=[-3.0, 4]), r"none of the metrics of quiz \(odd\) is a number in \[0, 1\]"),
    (sample(metrics=["acc", "f1"], acc=[1, 2], f1=0), r"line 1: acc is \[1, 2\], no number in \[0, 1\]; .*METRIC: f1$"),
])
def test_no_metric_to_choose(tmp_path, line, message):
    put(tmp_path / "a", [line])
    with pytest.raises(OutcomeError, match=message):
        lm_eval.load(tmp_path)


def test_logs_of_a_task_must_agree(tmp_path):
    put(tmp_path / "a", [sample(filter="strict")])
    put(tmp_path / "b", [sample(filter="loose")])
    put(tmp_path / "c", [sample(filter=...)])  # an early version, which named no filter
    with pytest.raises(OutcomeError, match=r"quiz would be acc,strict in .*a/samples_quiz.* but acc,loose in .*b/"):
        lm_eval.load(tmp_path)
    with pytest.raises(OutcomeError, match="names no filter"):
        lm_eval.load(tmp_path, metric="acc,strict")
    put(tmp_path / "b", [sample(filter="strict", score=0)])
    assert lm_eval.load(tmp_path).scores.tolist() == [[1], [0], [1]]


def test_newest_run_and_repeated_rows(tmp_path):
    put(tmp_path / "x" / "org__a", ["damaged"], time="")
    put(tmp_path / "x" / "org__a", [sample(0, 1), sample(0, 0), sample(0, 0)], time=NEW)
    put(tmp_path / "y" / "org__a", ["damaged"], time=OLD)
    table = lm_eval.load(tmp_path)
    assert cells(table) == {("org/a", "quiz/0"): 1}
    assert table.repeats["score"].tolist() == [1, 0, 0]
    assert table.repairs["older runs of a task, damaged"] == [
        "x/org__a/samples_quiz.jsonl", f"y/org__a/samples_quiz_{OLD}.jsonl"
    ]
    assert lm_eval.load(tmp_path, duplicates="majority").scores.tolist() == [[0]]


@pytest.mark.parametrize(("folder", "results", "name"), [
    ("org__model", None, "org/model"),
    ("org/model", None, "org/model"),
    ("runs/org__model", None, "org/model"),
    ("org__a:b", None, "org/a:b"),
    ("org__a__b", {"model_name": "org/a:b"}, "org/a:b"),
    ("runs/org/model", {"model_name": "org/model"}, "org/model"),
    ("a hot copy", {"model_name": "org/model"}, "org/model"),
    ("a hot copy", {"config": {"model_args": "pretrained=org/model,dtype=float16"}}, "org/model"),
    ("a hot copy", {"config": {"model_args": {"pretrained": "org/base", "peft": "org/model"}}}, "org/model"),
    ("runs/quiz", {"model_name": "/opt/models/llama/"}, "/opt/models/llama"),
    ("org__model/quiz", None, "org/model"),
    ("org/model/quiz", None, "org/model"),
    ("org__model", {"model_name": 7, "group_subtasks": [], "groups": None}, "org/model"),
    (".", {"model_name": "org/model"}, "org/model"),
])
def test_model_name(tmp_path, folder, results, name):
    put(tmp_path / folder, [sample()], results=results)
    assert list(lm_eval.load(tmp_path).models.index) == [name]


def test_several_models_in_one_folder(tmp_path):
    """As --output_path out/<name>.json leaves them."""
    put(tmp_path / "out", [sample(0, 0)], time=OLD, results={"model_name": "org/a"}, stem="a")
    put(tmp_path / "out", [sample(0, 1)], time=NEW, results={"model_name": "org/b"}, stem="b")
    assert cells(lm_eval.load(tmp_path)) == {("org/a", "quiz/0"): 0, ("org/b", "quiz/0"): 1}


def test_names_that_differ_in_case(tmp_path):
    for name in ("Zephyr", "zephyr", "other"):
        put(tmp_path / name, [sample()])
    table = lm_eval.load(tmp_path)
    assert list(table.models.index) == ["Zephyr", "other", "zephyr"]


# which runs are one model


def told(name="org/m", args="", task="quiz", shots=0, config=None, **changes) -> dict:
    """A results file as the harness writes it."""
    args = f"pretrained={name}{args and ','}{args}" if isinstance(args, str) else {"pretrained": name} | args
    config = {"model": "hf", "model_args": args, "fewshot_seed": 1234, "random_seed": 0} | (config or {})
    return {
        "configs": {task: {"task": task, "num_fewshot": shots}}, "n-shot": {task: shots}, "model_name": name,
        "config": config, **changes,
    }


def test_a_copy_of_a_file_is_no_task(tmp_path):
    put(tmp_path / "a", [sample(score=1)], time=OLD, results=told())
    for name in (f"samples_quiz_{OLD} (1).jsonl", f"samples_quiz_{OLD}_rescored.jsonl"):
        copy = tmp_path / "a" / name
        shutil.copy(next((tmp_path / "a").glob("samples_*")), copy)
        with pytest.raises(OutcomeError, match="something after the time, as a copy has"):
            lm_eval.load(tmp_path)
        copy.unlink()


@pytest.mark.parametrize("key", ["header", "api_token", "hf_token", "auth", "openai_key"])
def test_no_secret_becomes_part_of_a_name(tmp_path, key):
    for place, secret in (("a", "sk-1"), ("b", "sk-2")):
        put(tmp_path / place, [sample(score=1)], time=OLD, results=told(args={key: secret}))
    assert list(lm_eval.load(tmp_path).models.index) == ["org/m"]


@pytest.mark.parametrize(("changes", "suffix"), [
    ({"args": "revision=step1000"}, "revision=step1000"),
    ({"args": {"revision": "step1000"}}, "revision=step1000"),
    ({"args": "dtype=float16,batch_size=8"}, "dtype=float16"),
    ({"args": {"load_in_4bit": True}}, "load_in_4bit=True"),
    ({"args": "peft=org/adapter"}, "peft=org/adapter"),
    ({"args": "max_length=2048"}, "max_length=2048"),
    ({"args": "quantization=awq"}, "quantization=awq"),
    ({"shots": 5}, "num_fewshot=5"),
    ({"config": {"gen_kwargs": "temperature=1,do_sample=true"}}, "gen_kwargs=do_sample=True,temperature=1"),
    ({"config": {"gen_kwargs": {"temperature": 1}}}, "gen_kwargs=temperature=1"),
    ({"chat_template": "x"}, "chat_template=2d711642"),
    ({"chat_template": "y", "chat_template_sha": "2d711642b726"}, "chat_template=2d711642"),
    ({"system_instruction": "x"}, "system_instruction=2d711642"),
    ({"config": {"model": "vllm"}}, "model=vllm"),
    ({"configs": {"quiz": {"task": "quiz", "num_fewshot": 0, "doc_to_text": "other"}}}, "task=95903dff"),
    ({"configs": {"quiz": {"num_fewshot": 0, "metadata": {"version": 2}}}}, "task=4ed0d756"),
])
def test_what_makes_the_answers_makes_a_variant(tmp_path, changes, suffix):
    put(tmp_path / "a", [sample(score=0)], time=OLD, results=told())
    put(tmp_path / "b", [sample(score=1)], time=NEW, results=told(**changes))
    table = lm_eval.load(tmp_path)
    plain = "org/m (num_fewshot=0)" if "shots" in changes else "org/m (model=hf)" if "vllm" in suffix else "org/m"
    assert cells(table) == {(plain, "quiz/0"): 0, (f"org/m ({suffix})", "quiz/0"): 1}
    assert table.repairs[VARIANTS] == sorted([plain, f"org/m ({suffix})"])
    assert not table.repairs[OLDER]


@pytest.mark.parametrize("changes", [
    {"args": "batch_size=auto,device=cuda:1,parallelize=True,trust_remote_code=True,gpu_memory_utilization=0.9"},
    {"args": {"revision": "main", "dtype": "auto", "load_in_4bit": False, "peft": None, "max_retries": 5}},
    {"config": {"batch_size": 4, "device": "cpu", "use_cache": "x", "limit": 5, "random_seed": 7, "fewshot_seed": 7}},
    {"config": {"gen_kwargs": None}, "chat_template": None, "fewshot_as_multiturn": True, "date": 17.5},
    {"results": {"quiz": {"acc,none": 1}}, "total_evaluation_time_seconds": "9", "versions": {"quiz": 2}},
    {"name": "org/m/"},
    {"args": "token=secret,openai_api_key=secret"},
])
def test_what_does_not_make_the_answers_is_a_rerun(tmp_path, changes):
    old = put(tmp_path / "a", [sample(score=0)], time=OLD, results=told())
    put(tmp_path / "b", [sample(score=1)], time=NEW, results=told(**changes))
    table = lm_eval.load(tmp_path)
    assert cells(table) == {("org/m", "quiz/0"): 1}
    assert table.repairs[OLDER] == [f"a/{old.name}"] and not table.repairs[VARIANTS]


def test_shortest_names_that_tell_variants_apart(tmp_path):
    for place, args in enumerate(["dtype=float32,max_length=8,revision=a", "dtype=float16,max_length=8,revision=b",
                                  "dtype=float16,max_length=8,revision=c"]):
        put(tmp_path / str(place), [sample()], results=told(args=args))
    put(tmp_path / "other", [sample()], results=told("org/other", args="revision=a"))
    assert list(lm_eval.load(tmp_path).models.index) == [
        "org/m (revision=a)", "org/m (revision=b)", "org/m (revision=c)", "org/other"
    ]
    put(tmp_path / "4", [sample()], results=told(args="dtype=float16,max_length=8,revision=a"))
    assert "org/m (revision=a, dtype=float16)" in lm_eval.load(tmp_path).models.index


def test_tasks_asked_in_their_own_ways_are_one_model(tmp_path):
    def run(folder, time, shots):
        for task in shots:
            results = told() | {"n-shot": shots, "configs": {task: {"num_fewshot": n} for task, n in shots.items()}}
            put(tmp_path / folder, [sample()], task=task, time=time, results=results)

    run("a", OLD, {"arc": 25, "sums": 5})
    run("b", OLD, {"tales": 10})
    assert list(lm_eval.load(tmp_path).models.index) == ["org/m"]
    run("a", NEW, {"arc": 0, "sums": 0})
    table = lm_eval.load(tmp_path)
    assert list(table.models.index) == ["org/m (num_fewshot=0)", "org/m (num_fewshot=25/5)"]
    assert len(cells(table)) == 5, "a task asked in one way is of one of them"
    run("c", NEW, {"arc": 25})
    assert list(lm_eval.load(tmp_path).models.index) == ["org/m (num_fewshot=0)", "org/m (num_fewshot=25/5)"]


def test_tasks_asked_by_different_programs_are_one_model(tmp_path):
    put(tmp_path / "a", [sample()], time=OLD, results=told(args="dtype=float16"))
    asked = told(task="sums", args={"dtype": "float16", "max_model_len": 4096}, chat_template="x",
                 system_instruction="y", config={"model": "vllm", "gen_kwargs": {"temperature": 0}})
    put(tmp_path / "b", [sample()], task="sums", results=asked)
    assert list(lm_eval.load(tmp_path).models.index) == ["org/m"]
    put(tmp_path / "c", [sample()], task="tales", results=told(task="tales", args="dtype=float32"))
    assert list(lm_eval.load(tmp_path).models.index) == ["org/m (dtype=float16)", "org/m (dtype=float32)"]


def test_local_paths_with_one_last_part_are_two_models(tmp_path):
    for folder in ("x", "y"):
        put(tmp_path / folder, [sample()], results=told(f"/opt/{folder}/llama"))
    assert list(lm_eval.load(tmp_path).models.index) == ["/opt/x/llama", "/opt/y/llama"]


def test_logs_without_results_beside_variants(tmp_path):
    put(tmp_path / "org__m", [sample(score=0)], time=OLD)
    put(tmp_path / "b", [sample(score=1)], time=NEW, results=told(args="revision=a"))
    assert cells(lm_eval.load(tmp_path)) == {("org/m", "quiz/0"): 1}, "the only variant"
    put(tmp_path / "c", [sample(score=1)], time=NEW, results=told(args="revision=b"))
    assert list(lm_eval.load(tmp_path).models.index) == [
        "org/m (revision=a)", "org/m (revision=b)", "org/m (settings=unknown)"
    ]


def test_limited_run_does_not_hide_a_fuller_one(tmp_path):
    put(tmp_path / "a", [sample(n, 0) for n in range(3)], time=OLD, results=told())
    file = put(tmp_path / "a", [sample(n, 1) for n in range(2)], time=NEW, results=told(config={"limit": 2}))
    table = lm_eval.load(tmp_path)
    assert table.scores.tolist() == [[0, 0, 0]]
    assert table.repairs[FEWER] == [f"a/{file.name}"] and not table.repairs[OLDER]


@pytest.mark.parametrize("seed", range(4))
def test_runs_are_one_model_exactly_if_all_that_makes_the_answers_is_equal(tmp_path, seed):
    """Random settings: a model for each that differ, under a name of its own; of equal ones the newest run counts."""
    rng, newest = np.random.default_rng(seed), {}
    pools = {"revision": ["main", "a", "b"], "dtype": ["auto", "float16"], "batch_size": ["1", "2"]}
    for run in range(12):
        args = {key: str(rng.choice(values)) for key, values in pools.items()}
        changes = {"shots": int(rng.choice([0, 5])), "chat_template": str(rng.choice(["", "x"])), "date": run}
        text = args if rng.integers(2) else ",".join(f"{key}={value}" for key, value in args.items())
        put(tmp_path / f"{rng.integers(4)}", [sample(n, run >> n & 1) for n in range(4)],
            time=f"2024-05-{run + 1:02}T09-00-00", results=told(args=text, **changes))
        newest[args["revision"], args["dtype"], changes["shots"], changes["chat_template"]] = run
    table = lm_eval.load(tmp_path)
    assert len(set(table.models.index)) == len(newest) and table.observed.all()
    assert sorted(int(row @ [1, 2, 4, 8]) for row in table.scores) == sorted(newest.values())
    assert len(table.repairs[OLDER]) == 12 - len(newest)


LAYOUTS = {
    "one folder": lambda run, task: "out",
    "by model": lambda run, task: f"org__{run}",
    "by model and task": lambda run, task: f"{run}/{task}",
    "two folders": lambda run, task: f"{'first' if task < 'm' else 'second'}/org__{run}",
    "deep": lambda run, task: f"somewhere/else/{task}/{run}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(3))
def test_table_does_not_depend_on_layout_order_or_packing(tmp_path, layout, seed):
    """The same runs in another layout, lines in another order, some files gzipped: the same table."""
    rng, tables = np.random.default_rng(seed), []
    scores = {(run, task): rng.integers(0, 2, 6) for run in range(8) for task in ("arc", "sums", "tales")}
    for folder, place in ((tmp_path / "plain", LAYOUTS["by model"]), (tmp_path / "data" / "other", LAYOUTS[layout])):
        mixed = folder.name == "other"
        for run, task in scores:
            name, args = f"org/m{run % 4}", f"revision={'ab'[run // 4]}" if run % 2 else f"dtype=x,batch_size={run}"
            results = told(name, args) | {"n-shot": {"arc": 1, "sums": 5, "tales": 0}}
            filters = {"filter_list": [{"name": "strict"}, {"name": "loose"}]}
            results["configs"] = {"arc": filters, "sums": filters}
            lines = [sample(n, int(score), filter=kept) for kept in ("strict", "loose")
                     for n, score in enumerate(scores[run, task] ^ (kept == "loose"))]
            if task == "tales":
                lines = lines[:6]
            lines = list(rng.permutation(lines)) if mixed else lines
            time, stem = f"2024-05-0{run + 1}T09-00-00", "out" if layout == "one folder" else "results"
            file = put(folder / place(run, task), lines, task=task, time=time, results=results, stem=stem)
            if mixed and rng.integers(2):
                Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
                file.unlink()
        tables.append(lm_eval.load(folder))
    plain, other = tables
    assert list(plain.models.index) == ["org/m0", "org/m1 (revision=a)", "org/m1 (revision=b)", "org/m2",
                                        "org/m3 (revision=a)", "org/m3 (revision=b)"]
    assert cells(other) == cells(plain) and other.models.equals(plain.models)
    assert other.questions.equals(plain.questions)
    assert len(plain.repairs[OLDER]) == len(other.repairs[OLDER]) == 2 * 3


@pytest.mark.parametrize("stem", ["pretrained=org__m,dtype=float", "pretrained__org__m,dtype__float"])
def test_early_versions(tmp_path, stem):
    """JSON lists, named by the arguments of the model and the task; the results beside are of the last run."""
    lines = [sample(n, n % 2, doc_hash=..., filter=..., metrics=...) for n in range(3)]
    results = told(args="dtype=float", task="q_u_iz")
    del results["model_name"]
    for name, several in ((stem, lines), (stem.replace("org__m", "org__m-xl"), lines[:2])):
        put(tmp_path, [], results=results)
        (tmp_path / f"{name}_q_u_iz.jsonl").write_text(json.dumps(several, indent=2))
    next(tmp_path.glob("samples_*")).unlink()
    next(tmp_path.glob("results_*")).rename(tmp_path / "results.json")
    table = lm_eval.load(tmp_path)
    assert cells(table) == {("org/m", f"q_u_iz/{n}"): n % 2 for n in range(3)} | {
        ("org/m-xl", f"q_u_iz/{n}"): n % 2 for n in range(2)}
    assert table.questions["prompt"].tolist() == [f"Q: {n}\nA:" for n in range(3)]
    (tmp_path / "results.json").unlink()
    with pytest.raises(OutcomeError, match=r"0\.4\.0 to 0\.4\.2 need their results\.json"):
        lm_eval.load(tmp_path)


def test_wrong_sample_in_a_list(tmp_path):
    put(tmp_path / "a", [json.dumps([sample(0), sample(None)], indent=1)], suffix="json")
    with pytest.raises(OutcomeError, match="sample 2 of its list has no doc_id"):
        lm_eval.load(tmp_path)


def test_several_damaged_files_are_told_at_once(tmp_path):
    for place in range(7):
        put(tmp_path / f"m{place}", [sample(), "Error"])
    put(tmp_path / "fine", [sample()], results=told())
    with pytest.raises(OutcomeError, match=r"^7 files cannot be used: ") as error:
        lm_eval.load(tmp_path)
    assert str(error.value).count("line 2 is cut short or no JSON") == 5 and str(error.value).endswith("; and 2 more")


# groups, questions and prompts


@pytest.mark.parametrize(("several", "expected"), [
    ([{"group_subtasks": {"mmlu": ["stem"], "stem": ["maths"], "law": []}}], ("mmlu", "law")),
    ([{"group_subtasks": {"stem": ["maths"]}}, {"group_subtasks": {"mmlu": ["stem"]}}], ("mmlu", "law")),
    ([{"group_subtasks": {"openllm": ["mmlu", "law"], "mmlu": ["maths"]}}], ("mmlu", "law")),
    ([{"group_subtasks": {"mine": ["mmlu", "law"], "mmlu": ["maths"]}, "groups": {"mmlu": {}}}], ("mmlu", "mine")),
    ([{"group_subtasks": {"b": ["maths"], "a": ["maths", "b"]}}], ("a", "law")),
    ([{"group_subtasks": {"a": ["b"], "b": ["a", "maths"], "law": ["law"]}}], ("a", "law")),
    ([{"group_subtasks": {"a": "maths", "b": [["law"], None, 3]}}], ("maths", "law")),
    ([{}], ("maths", "law")),
])
def test_groups(tmp_path, several, expected):
    for number, results in enumerate(several):
        for task in ("maths", "law"):
            put(tmp_path / f"m{number}", [sample()], task=task, results=results)
    questions = lm_eval.load(tmp_path).questions
    assert questions.loc[["maths/0", "law/0"], "benchmark"].tolist() == list(expected)
    assert questions.loc[["maths/0", "law/0"], "sub_benchmark"].tolist() == ["maths", "law"]


def test_different_document_is_another_question(tmp_path):
    put(tmp_path / "a", [sample(0, 1, doc_hash="revised", arguments=[["What was 0?", "1"]]), sample(1, 1)])
    put(tmp_path / "b", [sample(0, 0), sample(1, 1)])
    put(tmp_path / "c", [sample(0, 0), sample(1, 0)])
    table = lm_eval.load(tmp_path)
    first, second, third = table.questions.index
    assert (first, third) == ("quiz/0", "quiz/1") and second.startswith("quiz/0 (document ")
    np.testing.assert_array_equal(table.scores, [[N, 1, 1], [0, N, 1], [0, N, 0]])
    assert table.repairs["document numbers with different documents, taken as different questions"] == 1


def test_document_under_other_numbers_is_the_same_question(tmp_path):
    """A document is told by its hash; one that a log holds twice stays two questions."""
    documents = [{"doc_hash": f"document {n}", "arguments": [[f"What is {n}?", " 1"]]} for n in (0, 1, 1)]
    for name, numbers in {"a": [3, 7, 8], "b": [3, 7, 8], "c": [7, 3, 8]}.items():
        put(tmp_path / name, [sample(n, n == 3, **said) for n, said in zip(numbers[:2], documents[:2], strict=True)])
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].to_dict() == {"quiz/3": "What is 0?", "quiz/7": "What is 1?"}
    assert table.scores.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert table.repairs["questions under several document numbers, matched by their document"] == 2
    for name in "ab":
        put(tmp_path / name, [sample(n, 1, **said) for n, said in zip([3, 7, 8], documents, strict=True)])
    assert list(lm_eval.load(tmp_path).questions.index[:3]) == ["quiz/3", "quiz/7", "quiz/8"]


def test_shuffled_options_are_one_question(tmp_path):
    def asked(n, options, **changes):
        listed = "".join(f"({letter}) {option}\n" for letter, option in zip("ABC", options, strict=True))
        arguments = [[f"Colour of {n}?\n{listed}Answer:", " (A)"]]
        return sample(n, arguments=arguments, doc_hash=f"{n} {options}", **changes)

    for name, options in {"a": ["red", "blue", "green"], "b": ["blue", "red", "green"], "c": ["green", "blue", "red"],
                          "d": ["red", "blue", "green"]}.items():
        put(tmp_path / name, [asked(n, options) for n in range(3)])
    table = lm_eval.load(tmp_path)
    assert table.shape == (4, 3) and table.observed.all()
    assert table.questions["prompt"].iloc[0] == "Colour of 0?\n(A) red\n(B) blue\n(C) green\nAnswer:"
    assert table.repairs["documents with the lines of another, in any order, taken as one question"] == 2 * 3
    put(tmp_path / "e", [asked(0, ["red", "blue", "black"]), sample(1, arguments=[["Colour of 1?", ""]], doc_hash="x")])
    assert lm_eval.load(tmp_path).shape == (5, 5), "other options, another text"


def test_same_text_with_another_answer_is_another_question(tmp_path):
    for name, changes in {"a": {}, "b": {"doc_hash": "revised"}, "c": {"doc_hash": "again", "target": "2"}}.items():
        put(tmp_path / name, [sample(0, **changes)])
    assert lm_eval.load(tmp_path).shape[1] == 3
    (tmp_path / "c" / f"samples_quiz_{NEW}.jsonl").unlink()
    assert lm_eval.load(tmp_path).shape[1] == 1


def test_every_context_of_options_stands_in_the_prompt(tmp_path):
    """Blanks filled in: the contexts end in the option, and only the ending of both tells two questions apart."""
    def filled(n, end, before=""):
        return sample(n, arguments=[[f"{before}The cup did not fit, as the {word}", end] for word in ("cup", "bag")])

    put(tmp_path / "a", [filled(0, " is too large."), filled(1, " is too small.")])
    ways = [f"The cup did not fit, as the {word} is too {size}."
            for size in ("large", "small") for word in ("cup", "bag")]
    expected = ["\n".join(ways[:2]), "\n".join(ways[2:])]
    assert lm_eval.load(tmp_path).questions["prompt"].tolist() == expected
    shots = "The ball rolled. It was round.\n\nThe box fell. It was full.\n\n"
    put(tmp_path / "a", [filled(0, " is too large.", shots), filled(1, " is too small.", shots)], results=told(shots=2))
    assert lm_eval.load(tmp_path).questions["prompt"].tolist() == expected, "worked examples stand there once and go"


def test_commonest_prompt(tmp_path):
    def chat(text):
        return {"arguments": [[text, {"until": []}]]}

    put(tmp_path / "a", [sample(0, **chat("<user> 0")), sample(1, **chat("<user> 1"))])
    put(tmp_path / "b", [sample(0, **chat("0")), sample(1, **chat("1"))])
    put(tmp_path / "c", [sample(0, **chat("0"))])
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].tolist() == ["0", "<user> 1"], "the first model by name where as many"
    assert table.repairs["questions with different prompts, the commonest kept"] == 2


@pytest.mark.parametrize(("arguments", "prompt", "bare"), [
    ({"gen_args_0": {"arg_0": "x" * 200_000 + "\u2028\u00e9\u0000\U0001f98a", "arg_1": {}}}, None, 0),
    ([["None", " a"], ["None", " b"], ["", " b"]], "None", 0),
    ([["The cat", " purrs."], ["The dog", " purrs."]], "The cat purrs.\nThe dog purrs.", 0),
    ([["Fill in.\n\nThe cat", " purrs."], ["Fill in.\n\nA dog", {}]], "Fill in.\n\nThe cat purrs.\nA dog", 0),
    ({"gen_args_0": {"arg_0": ['[{"role": "user"}]'], "arg_1": {}}}, '[{"role": "user"}]', 0),
    ([['[{"role": "system", "content": "\\ud55c"}, {"role": "user", "content": [{"type": "image"}, {"text": "a?"}]}]']],
     "\ud55c\n\na?", 0),
    ({"gen_args_0": {"arg_0": [{"role": "user"}, {"role": "system"}]}}, '[{"role": "user"}, {"role": "system"}]', 0),
    ([["", "cats purr"], ["", "cats bark"]], "cats purr\ncats bark", 1),
])
def test_prompt(tmp_path, arguments, prompt, bare):
    put(tmp_path / "a", ["", sample(3, arguments=arguments), " \r"])
    table = lm_eval.load(tmp_path)
    assert table.questions["prompt"].item() == (prompt or arguments["gen_args_0"]["arg_0"])
    assert table.repairs["questions without a context, their options taken as prompt"] == bare


@pytest.mark.parametrize(("line", "message"), [
    *((sample(score=score), r"acc is .*, no number in \[0, 1\]; none of its metrics")
      for score in (2, -1, np.inf, "1", [1.0], {})),
    *((sample(doc_id), "has no doc_id") for doc_id in (..., None, True, 1.5, [], " ", "\ud800")),
    *((sample(arguments=arguments), "no arguments that begin with the text")
      for arguments in (..., None, [], {}, [[]], "x", [[5]], [["\ud800", "y"]], [["", " "]])),
    (sample(doc=..., doc_hash=...), "neither doc_hash nor doc"),
    ("[1, 2]", "must hold a JSON object, found list"),
    ("Error: out of memory", "is cut short or no JSON"),
    ("[" * 100_000, "is cut short or no JSON"),
    (json.dumps(sample())[:-9], "is cut short or no JSON"),
])
def test_wrong_line(tmp_path, line, message):
    file = put(tmp_path / "a", [sample(5)])
    with file.open("a") as stream:
        stream.write(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(OutcomeError, match=message) as error:
        lm_eval.load(tmp_path)
    assert str(error.value).startswith(f"{file}, line 2")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_wrong_files(tmp_path):
    for folder, message in ((tmp_path, "holds no file samples_"), (tmp_path / "none", "is no directory")):
        with pytest.raises(OutcomeError, match=message):
            lm_eval.load(folder)
    file = put(tmp_path / "a", [])
    with pytest.raises(OutcomeError, match="holds no sample"):
        lm_eval.load(tmp_path)
    file.write_bytes(json.dumps(sample()).encode("utf-16"))
    with pytest.raises(OutcomeError, match="line 1 is not UTF-8 text but UTF-16; save it as UTF-8"):
        lm_eval.load(tmp_path)
    file.write_bytes(json.dumps(sample()).encode("utf-16-le"))
    with pytest.raises(OutcomeError, match="line 1 holds zero bytes, as UTF-16 text does"):
        lm_eval.load(tmp_path)
    file.write_bytes(b'{"doc_id": "\xe9"}')
    with pytest.raises(OutcomeError, match="line 1 is not UTF-8 text but another encoding"):
        lm_eval.load(tmp_path)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n")
    with pytest.raises(OutcomeError, match="is a Git LFS pointer, not the data: git lfs pull"):
        lm_eval.load(tmp_path)
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(OutcomeError, match="does not exist"):
        lm_eval.load(tmp_path)
    file.unlink()
    put(tmp_path / "a", [sample()], results=[])
    with pytest.raises(OutcomeError, match=r"results_.* must hold a JSON object"):
        lm_eval.load(tmp_path)


# damaged at random

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3) | st.sampled_from(["acc", "gen_args_0", "arg_0"]), inner, max_size=3),
    max_leaves=6,
)
GOOD = [sample(number, number % 2, filter=kept) for kept in ("strict", "loose") for number in range(3)]


def valid_or_refused(folder: Path, **options) -> None:
    """A folder either gives a table that can be saved and read, or an OutcomeError; anything else fails."""
    try:
        table = lm_eval.load(folder, **options)
    except OutcomeError:
        return
    assert set(table.questions.columns) >= {"prompt", "benchmark", "sub_benchmark"}
    table.save(folder / "table.zip")
    assert OutcomeMatrix.load(folder / "table.zip").fingerprint == table.fingerprint


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5), st.sampled_from([*GOOD[0], "new"]), JSON, st.sampled_from(["", "acc", "acc,loose"]))
def test_any_value_in_any_field(line, key, value, metric):
    with tempfile.TemporaryDirectory() as folder:
        lines = [dict(sample) for sample in GOOD]
        lines[line][key] = value
        put(Path(folder) / "a", map(json.dumps, lines))
        put(Path(folder) / "b", GOOD)
        valid_or_refused(Path(folder), metric=metric)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_byte_anywhere(data):
    with tempfile.TemporaryDirectory() as folder:
        file = put(Path(folder) / "a", GOOD, results={"model_name": "a", "group_subtasks": {"g": ["quiz"]}})
        file = data.draw(st.sampled_from([file, file.with_name(f"results_{NEW}.json")]))
        content = bytearray(file.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
            content[place] = data.draw(st.integers(0, 255))
        file.write_bytes(content[:data.draw(st.just(len(content)) | st.integers(0, len(content)))])
        valid_or_refused(Path(folder))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([
    "model_name", "group_subtasks", "groups", "config", "configs", "n-shot", "higher_is_better", "chat_template",
    "chat_template_sha", "system_instruction", "fewshot_as_multiturn",
]), JSON | st.dictionaries(st.sampled_from(["model_args", "gen_kwargs", "model", "fewshot_seed", "quiz"]), JSON)))
def test_any_results(results):
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder) / "a", GOOD)
        put(Path(folder) / "a", GOOD, time=OLD, results={"model_name": "a", "config": {"model_args": "dtype=x"}})
        (Path(folder) / "a" / f"results_{NEW}.json").write_text(json.dumps(results))
        valid_or_refused(Path(folder))
