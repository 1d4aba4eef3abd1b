"""The paper's own files: known tables, a plain reading to compare with, files that are wrong, and a pretended hub."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import embedllm

PROMPTS = ['a "quoted", comma\nand line', "None", "caf\u00e9 \U0001f600", " spaced ", "plain", "x" * 200_000]
CATEGORIES = ["mmlu_law", "gsm8k", "gpqa_main_zeroshot", "mmlu_abstract_algebra", "piqa", "truthfulqa_mc1"]
PART_OF = ["train", "train", "train", "train", "val", "test"]  # of each prompt_id
NAMES = ["org__model-a", "org__model__b", "local"]
REPEATED = "questions listed in several categories of their benchmark, the first kept"


def rows(n_models: int = 3) -> pd.DataFrame:
    """Every model on every question, as text cells, and a column `file`; labels (model + question) % 2."""
    return pd.DataFrame([
        {"prompt_id": str(q), "model_id": str(m), "category_id": "0", "label": str((m + q) % 2), "model_name": NAMES[m],
         "category": CATEGORIES[q], "prompt": PROMPTS[q], "file": PART_OF[q]}
        for m in range(n_models) for q in range(len(PROMPTS))
    ])


def write(folder: Path, frame: pd.DataFrame) -> Path:
    for part in ("train", "val", "test"):
        frame[frame["file"] == part].drop(columns="file").to_csv(folder / f"{part}.csv", index=False)
    return folder


def more(frame: pd.DataFrame, like: int, **cells) -> pd.DataFrame:
    """The rows and one more, like a given one but for some cells."""
    return pd.concat([frame, frame.iloc[[like]].assign(**cells)], ignore_index=True)


# what it reads


def test_known_table(tmp_path):
    table = embedllm.load(write(tmp_path, rows()))
    assert list(table.models.index) == ["local", "org/model-a", "org/model__b"], "only the first __ is a /"
    assert list(table.questions.index) == ["0", "1", "2", "3", "4", "5"]
    assert list(table.questions["prompt"]) == PROMPTS
    assert list(table.questions["benchmark"]) == ["mmlu", "gsm8k", "gpqa", "mmlu", "piqa", "truthfulqa_mc1"]
    assert list(table.questions["sub_benchmark"]) == CATEGORIES
    assert list(table.questions["part"]) == PART_OF
    assert "category" not in set(table.questions.dtypes.astype(str)), "notebooks add words of their own"
    expected = (np.array([2, 0, 1])[:, None] + np.arange(6)) % 2
    np.testing.assert_array_equal(table.scores, expected.astype(np.float32))
    assert not any(table.repairs.values())
    assert len(table.repeats) == 0
    assert table.provenance["val.csv"] == "sha256 " + hashlib.sha256((tmp_path / "val.csv").read_bytes()).hexdigest()
    assert "revision" not in table.provenance, "nobody knows where these files are from"


def test_agrees_with_a_plain_reading_of_shuffled_files_with_gaps_and_repeats(tmp_path):
    rng = np.random.default_rng(0)
    n_models, n_questions = 7, 300
    frame = pd.DataFrame({"q": rng.integers(n_questions, size=4000), "m": rng.integers(n_models, size=4000)})
    frame = pd.DataFrame({
        "prompt_id": frame["q"], "model_id": frame["m"], "category_id": 0, "label": rng.integers(2, size=4000),
        "model_name": "o__" + frame["m"].astype(str), "category": "mmlu_" + (frame["q"] % 4).astype(str),
        "prompt": 'Say "' + frame["q"].astype(str) + '",\nplease', "file": np.take(PART_OF, frame["q"] % 6),
    })
    table = embedllm.load(write(tmp_path, frame), duplicates="mean")
    parts = {part: pd.read_csv(tmp_path / f"{part}.csv") for part in ("train", "val", "test")}
    plain = pd.concat(parts.values())
    scores = plain.pivot_table(index="model_name", columns="prompt_id", values="label", aggfunc="mean")
    np.testing.assert_allclose(table.scores, scores[table.questions.index.astype(int)], rtol=1e-6)
    assert np.isnan(table.scores).any(), "some cells were never asked"
    assert list(table.models.index.str.replace("/", "__")) == list(scores.index)
    facts = plain.drop_duplicates("prompt_id").set_index("prompt_id")
    assert list(table.questions.index) == list(facts.index.astype(str)), "order of first appearance"
    assert list(table.questions["prompt"]) == list(facts["prompt"])
    assert list(table.questions["sub_benchmark"]) == list(facts["category"])
    for part, held in parts.items():
        assert set(table.questions.index[table.questions["part"] == part]) == set(held["prompt_id"].astype(str))


@pytest.mark.parametrize(("rule", "expected"), [("first", 0), ("mean", 2 / 3), ("max", 1), ("majority", 1)])
def test_each_rule_for_repeated_rows(tmp_path, rule, expected):
    frame = more(more(rows(), 0, label="1"), 0, label="1")
    table = embedllm.load(write(tmp_path, frame), duplicates=rule)
    assert table.scores[1, 0] == pytest.approx(expected)
    assert table.repeats.to_numpy().tolist() == [["org/model-a", "0", score] for score in (0, 1, 1)]
    assert table.provenance["rule for repeated rows"] == rule


def test_variants_of_one_benchmark_are_repeats_and_counted(tmp_path):
    table = embedllm.load(write(tmp_path, more(rows(), 2, category="gpqa_main_n_shot", label="1")), duplicates="max")
    assert table.repairs[REPEATED] == 1
    assert list(table.questions["sub_benchmark"]) == CATEGORIES
    assert table.scores[1, 2] == 1
    assert len(table.repeats) == 2


def test_columns_in_any_order_extra_ones_and_ids_as_text(tmp_path):
    frame = rows().assign(prompt_id=lambda f: "12345678901234567890" + f["prompt_id"], more="NA")
    table = embedllm.load(write(tmp_path, frame[frame.columns[::-1]].drop(columns="category_id")))
    assert list(table.questions.index) == [f"12345678901234567890{q}" for q in range(6)]
    assert table.shape == (3, 6)


def test_order_files_are_not_needed_and_do_not_matter(tmp_path):
    plain = embedllm.load(write(tmp_path, rows())).fingerprint
    (tmp_path / "question_order.csv").write_text('prompt_id,prompt\n0,"another prompt')
    (tmp_path / "model_order.csv").write_text("")
    assert embedllm.load(tmp_path).fingerprint == plain


# what it rejects


WRONG = {
    "label word": (lambda f: f.replace({"label": {"1": "yes"}}),
                   r"train\.csv, row 3: the label must be 0 or 1, found 'yes'"),
    "label blank": (lambda f: more(f, 4, label=""), r"val\.csv, row 5: the label is blank"),
    "label nan": (lambda f: more(f, 4, label="NaN"), r"val\.csv, row 5: the label must be 0 or 1, found 'NaN'"),
    "label 2": (lambda f: more(f, 5, label="2"), r"test\.csv, row 5: the label must be 0 or 1, found '2'"),
    "label -1": (lambda f: more(f, 5, label="-1"), r"test\.csv, row 5: .*found '-1'"),
    "label half": (lambda f: more(f, 5, label="0.5"), r"test\.csv, row 5: .*found '0\.5'"),
    "no prompt_id": (lambda f: more(f, 0, prompt_id=""), r"train\.csv, row 14: the prompt_id is blank"),
    **{f"{column} {cell!r}": (lambda f, column=column, cell=cell: more(f, 4, **{column: cell}),
                              rf"val\.csv, row 5: the {column} must be a whole number in plain digits, found '")
       for column in ("prompt_id", "model_id")
       for cell in (" 4", "4 ", "4\n", "4.0", "04", "-4", "+4", "4e0", "1_0", "four", "\u0664", "\uff14", "NaN")},
    "blank name": (lambda f: more(f, 0, model_name="  "), r"train\.csv, row 14: the model_name is blank"),
    "blank prompt": (lambda f: more(f, 0, prompt="\n"), r"train\.csv, row 14: the prompt is blank"),
    "two prompts": (lambda f: more(f, 4, prompt="other"), r"val\.csv, row 5: prompt_id '4' has another prompt"),
    "two prompts in two files": (lambda f: more(f, 4, prompt_id="0"), r"val\.csv, row 5: prompt_id '0' has another"),
    "two parts": (lambda f: more(f, 0, file="test"),
                  r"test\.csv, row 5: prompt_id '0' has the part 'test', but 'train' in an earlier row"),
    "two benchmarks": (lambda f: more(f, 0, category="piqa"),
                       r"train\.csv, row 14: prompt_id '0' has the benchmark 'piqa', but 'mmlu' in an earlier row"),
    "two names": (lambda f: more(f, 4, model_name="z"),
                  r"val\.csv, row 5: model_id '0' has the model_name 'z', but 'org/model-a' in an earlier row"),
    "two ids": (lambda f: more(f, 4, model_id="9"), r"val\.csv, row 5: model_name 'org/model-a' has the model_id '9'"),
    "two spellings of a name": (lambda f: more(f, 4, model_id="9", model_name="org/model-a"), r"has the model_id '9'"),
    "empty part": (lambda f: f[f["file"] != "val"], r"val\.csv holds no rows"),
    "no column": (lambda f: f.drop(columns="category"), r"train\.csv lacks the column\(s\) category"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_wrong_content_is_named_with_file_and_row(tmp_path, change, message):
    with pytest.raises(OutcomeError, match=message) as caught:
        embedllm.load(write(tmp_path, change(rows())))
    assert "\n" not in str(caught.value)


def test_row_numbers_go_on_over_the_blocks_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("embedllm.sources._csv.BLOCK", 300_000)  # two rows with the long prompt do not fit
    frame = pd.concat([rows()] * 20, ignore_index=True)
    assert embedllm.load(write(tmp_path, frame)).shape == (3, 6)
    with pytest.raises(OutcomeError, match=r"test\.csv, row 62: the label must be 0 or 1, found '7'"):
        embedllm.load(write(tmp_path, more(frame, 5, label="7")))
    with pytest.raises(OutcomeError, match=r"test\.csv, row 62: prompt_id '5' has another prompt"):
        embedllm.load(write(tmp_path, more(frame, 5, prompt="x" * 199_999)))


@pytest.mark.parametrize("name", ["train.csv", "val.csv", "test.csv"])
def test_a_missing_empty_cut_or_recoded_file_is_named(tmp_path, name):
    file = write(tmp_path, rows()) / name
    content = file.read_bytes()
    header = content.index(b"\n") + 1
    for wrong in (None, b"", content[:header], content[:20], content[:-5], b"\xff" + content, b"\x1f\x8b\x08\0" * 99,
                  content + b"1,2\n", content.decode().encode("utf-16")[:-1], content + b'9,9,9,1,z,piqa,"open\n'):
        file.unlink() if wrong is None else file.write_bytes(wrong)
        with pytest.raises(OutcomeError, match=name.replace(".", r"\.")):
            embedllm.load(tmp_path)


def test_no_folder():
    with pytest.raises(OutcomeError, match=r"^nowhere lacks train\.csv, val\.csv, test\.csv; the dataset"):
        embedllm.load(Path("nowhere"))


SMALL = rows(2).replace({"prompt": {PROMPTS[-1]: "short"}})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_table_or_an_outcome_error(data):
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), SMALL) / data.draw(st.sampled_from(embedllm.FILES))
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(content[:data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
        check(Path(folder))


CELL = st.one_of(st.sampled_from(["0", "1", "", "-1", "1e999", "nan", "True", "mmlu_", "a__b", '"', "\r", "\0", "1_0"]),
                 st.text(max_size=12))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.sampled_from(list(embedllm.TYPES)), CELL), max_size=3))
def test_random_cells_give_a_table_or_an_outcome_error(changes):
    frame = SMALL.copy()
    for row, column, cell in changes:
        frame.loc[row, column] = cell.encode("utf-8", "replace").decode()
    with tempfile.TemporaryDirectory() as folder:
        check(write(Path(folder), frame))


def check(folder: Path) -> None:
    """A table is read whole: no more cells than rows, and none but labels; an error is one line."""
    try:
        table = embedllm.load(folder)
    except OutcomeError as error:
        table = str(error)
    if isinstance(table, str):
        assert "\n" not in table or "lacks the column(s)" in table, "a damaged header is quoted as it is"
        assert ".csv" in table
        return
    assert np.isin(table.scores[table.observed], (0, 1)).all()
    assert table.observed.sum() <= len(SMALL)
    assert set(table.questions["part"]) == {"train", "val", "test"}


# the hub

HUB = """
import sys, time
from pathlib import Path
from embedllm.sources import embedllm
started = time.perf_counter()
for revision in sys.argv[2:]:
    try:
        print(embedllm.load(embedllm.download(Path(sys.argv[1]), revision=revision)).provenance["revision"])
    except Exception as error:
        print(type(error).__name__, error)
print(time.perf_counter() - started)
"""
COMMIT = "0123456789" * 4


def ask(endpoint: str, folder: Path, *revisions: str) -> list[str]:
    """Download from a hub at an address, in a process of its own since the client reads it when imported."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder.parent / "home")}
    own = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name[:3] != "HF_"}
    done = subprocess.run([sys.executable, "-c", HUB, str(folder), *revisions], capture_output=True, text=True,
                          env={**own, **quiet, "HF_ENDPOINT": endpoint}, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def hub(tmp_path):
    """A web server that answers as the hub does for one commit, also called main: (address, what it was asked)."""
    (tmp_path / "hub").mkdir()
    files = {file.name: file.read_bytes() for file in write(tmp_path / "hub", rows()).iterdir()}
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"{self.command} {self.path}")
            head, _, name = self.path.partition("?")[0].rpartition("/")
            code, body, headers = 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
            if head.endswith(("/main", COMMIT)) and name in files and "/resolve/" in head:
                code, body, etag = 200, files[name], hashlib.sha256(files[name]).hexdigest()
                headers = {"ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body)),
                           "X-Repo-Commit": COMMIT}
            elif name in ("main", COMMIT) and "/api/datasets/" in head:
                held = [{"rfilename": name, "type": "file", "path": name, "size": len(body), "oid": "0"}
                        for name, body in {**files, "train_x.pth": b"pickle"}.items()]
                listing = held if "/tree/" in self.path else {"id": embedllm.HUB, "sha": COMMIT, "siblings": held}
                code, body, headers = 200, json.dumps(listing).encode(), {"Content-Type": "application/json"}
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_download_fetches_the_tables_once_and_records_the_commit(hub, tmp_path):
    address, asked = hub
    folder = tmp_path / "data" / "embedllm"
    assert ask(address, folder, "main", COMMIT)[:2] == [COMMIT, COMMIT]
    assert sorted(file.name for file in folder.glob("*.*")) == [".cache", "test.csv", "train.csv", "val.csv"]
    assert not any("train_x" in line for line in asked), "only the tables"
    asked.clear()
    assert ask(address, folder, COMMIT)[0] == COMMIT
    assert asked == [], "a commit that is there needs no hub"
    (folder / "val.csv").unlink()
    assert ask(address, folder, COMMIT)[0] == COMMIT
    assert [line.rpartition("/")[2] for line in asked if line.startswith("GET") and "/resolve/" in line] == ["val.csv"]
    with (folder / "val.csv").open("ab") as stream:
        stream.write(b"4,0,0,1,org__model-a,piqa,plain\n")
    assert embedllm.load(folder).provenance["revision"] == f"{COMMIT}, but changed since: val.csv"


def test_no_hub_and_no_such_revision_are_one_sentence_at_once(hub, tmp_path):
    folder = tmp_path / "data"
    *lines, seconds = ask(hub[0], folder, "v9") + ask("http://127.0.0.1:9", folder, "main")
    errors = [line for line in lines if not line[0].isdigit()]
    assert len(errors) == 2
    for line, revision in zip(errors, ("v9", "main"), strict=True):
        assert line.startswith("OutcomeError the Hugging Face Hub did not give the dataset RZ412/EmbedLLM")
        assert f"at revision {revision} (" in line
        assert "DATA_DIR=folder" in line
    assert float(seconds) < 10
    assert not folder.exists()
