"""Encoders: the registry, the cache under interruption and damage, vectors of other makers."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED
from sklearn.feature_extraction.text import HashingVectorizer

from embedllm.catalog import ENCODERS, Encoder
from embedllm.encoders import cache, encoding, weights
from embedllm.encoders.cache import EncoderError, by_text, checked, encode, keep, kept
from embedllm.encoders.encoding import unit
from embedllm.study import data, paths
from embedllm.study.parameters import TABLE, read


class Letters:
    """In place of a tokenizer: a token a letter."""

    def __call__(self, texts, truncation, max_length):
        return {"input_ids": [list(map(ord, text[:max_length])) for text in texts]}

    def pad(self, encoded, return_tensors):
        rows = list(map(torch.tensor, encoded["input_ids"]))
        return {"input_ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)}


class StandIn:
    """In place of a sentence encoder: vectors that depend on the text and, a little, on the batch."""

    tokenizer, max_seq_length, device = Letters(), 256, torch.device("cpu")

    def __init__(self, dim: int = 384, fail_at: int | None = None):
        self.dim, self.fail_at, self.seen, self.padded = dim, fail_at, [], []

    def forward(self, features):
        if self.fail_at is not None and len(self.seen) >= self.fail_at:
            raise KeyboardInterrupt
        batch = ["".join(map(chr, row[row > 0])) for row in features["input_ids"]]
        self.seen += batch
        self.padded.append(features["input_ids"].shape)
        vectors = np.stack([self.vector(text) for text in batch])
        return {"sentence_embedding": torch.tensor(vectors * (1 + 1e-6 * max(map(len, batch))))}

    def vector(self, text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).standard_normal(self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def use(monkeypatch):
    """Make a stand-in the model that gets loaded, with small shards; hand it back."""

    def place(model: StandIn) -> StandIn:
        monkeypatch.setattr(encoding, "load", lambda name: model)
        return model

    monkeypatch.setattr(encoding, "SHARD", 8)
    monkeypatch.setitem(encoding.TOKENS, "cpu", 200)
    return place


def texts(n: int) -> list[str]:
    return [f"{'word ' * (i % 7)}question {i}?" for i in range(n)]


def shards(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.npz"))


def held(shard: Path) -> int:
    with np.load(shard) as content:
        return len(content["keys"])


# encoders without weights


def test_hashing_counts_words_and_pairs_of_words():
    prompts = ["What is two plus two?", "Name the capital.", ""]
    oracle = HashingVectorizer(n_features=256, ngram_range=(1, 2)).transform(prompts).toarray()
    vectors = encode("hashing", prompts, None)
    np.testing.assert_allclose(vectors, oracle, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], atol=1e-6)


def test_random_depends_on_the_text_alone_and_knows_nothing():
    prompts = texts(400)
    vectors = encode("random", prompts, None)
    np.testing.assert_array_equal(vectors, encode("random", prompts[::-1], None)[::-1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    # Cosines of independent directions in d dimensions: mean 0, standard deviation 1 / sqrt(d).
    cosines = (vectors @ vectors.T)[np.triu_indices(400, 1)]
    assert abs(cosines.mean()) < 4 / np.sqrt(384 * len(cosines)) * 2
    assert abs(cosines.std() * np.sqrt(384) - 1) < 0.02


@pytest.mark.parametrize("name", [name for name, entry in ENCODERS.items() if entry.path])
def test_shape_type_and_repeats(name, tmp_path):
    vectors = encode(name, ["a b", "c d", "a b"], tmp_path)
    assert vectors.shape == (3, ENCODERS[name].dim)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert encode(name, [], tmp_path).shape == (0, ENCODERS[name].dim)
    assert not list(tmp_path.iterdir()), "cheap vectors are not cached"


# what is asked


def test_unknown_encoder_names_the_known_ones():
    with pytest.raises(EncoderError, match=r"unknown encoder 'bert'; known: minilm, mpnet, hashing, random"):
        encode("bert", ["a"], None)


@pytest.mark.parametrize(
    ("prompts", "message"), [("one text", "sequence of texts"), (["a", float("nan")], "prompt 1 is no text")]
)
def test_prompts_must_be_texts(prompts, message):
    with pytest.raises(EncoderError, match=message):
        encode("hashing", prompts, None)


def test_lone_surrogates_are_survived(use, tmp_path):
    use(StandIn())
    broken = "half a pair: \ud83d"
    np.testing.assert_array_equal(encode("minilm", [broken], tmp_path), encode("minilm", [broken], tmp_path))


# the cache


def test_each_text_is_encoded_once_longest_first_and_returned_in_order(use, tmp_path):
    model = use(StandIn())
    prompts = texts(30)
    vectors = encode("minilm", [*prompts, *prompts[:5]], tmp_path)
    assert sorted(model.seen) == sorted(prompts)
    assert [len(text) for text in model.seen] == sorted(map(len, prompts), reverse=True)
    assert all(rows * width <= encoding.TOKENS["cpu"] for rows, width in model.padded)
    assert len(model.padded) < 1.5 * sum(map(len, prompts)) / encoding.TOKENS["cpu"] + 1, "batches are full"
    np.testing.assert_allclose(vectors[:30], [model.vector(text) for text in prompts], rtol=1e-4)
    np.testing.assert_array_equal(vectors[30:], vectors[:5])

    again = encode("minilm", pd.Series(prompts[::-1]), tmp_path)
    assert len(model.seen) == 30, "all of it came from the cache"
    np.testing.assert_array_equal(again, vectors[29::-1])

    encode("minilm", [*prompts, "new"], tmp_path)
    assert model.seen[30:] == ["new"]


def test_folder_names_encoder_and_weights(use, tmp_path):
    use(StandIn())
    encode("minilm", texts(30), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"minilm-{weights.fingerprint('minilm')[:12]}"]
    assert len(shards(tmp_path)) == 3
    assert sum(map(held, shards(tmp_path))) == 30
    assert not list(tmp_path.rglob("*.tmp"))


def test_without_cache_nothing_is_written(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = use(StandIn())
    np.testing.assert_allclose(encode("minilm", ["a"], None)[0], model.vector("a"), rtol=1e-4)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_resumes_to_the_same_bits(use, tmp_path):
    prompts = texts(50)
    use(StandIn())
    whole = encode("minilm", prompts, tmp_path / "whole")

    use(StandIn(fail_at=30))
    with pytest.raises(KeyboardInterrupt):
        encode("minilm", prompts, tmp_path / "cut")
    kept = sum(map(held, shards(tmp_path / "cut")))
    assert 16 <= kept < 50, "whole shards of eight or more were kept"
    rest = use(StandIn())
    np.testing.assert_array_equal(encode("minilm", prompts, tmp_path / "cut"), whole)
    assert len(rest.seen) == 50 - kept


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "one bit", "renamed"])
def test_a_damaged_shard_is_deleted_and_encoded_again(use, tmp_path, damage):
    model = use(StandIn())
    prompts = texts(20)
    expected = encode("minilm", prompts, tmp_path)
    shard = shards(tmp_path)[0]
    content, lost = shard.read_bytes(), held(shard)
    middle = len(content) // 2
    if damage == "renamed":
        shard = shard.rename(shard.with_name("f" * 32 + ".npz"))
    else:
        shard.write_bytes({
            "truncated": content[:middle],
            "empty": b"",
            "garbage": b"\x93NUMPY garbage",
            "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }[damage])
    np.testing.assert_allclose(encode("minilm", prompts, tmp_path), expected, rtol=1e-4)
    assert len(model.seen) == 20 + lost < 40, "only what the damaged shard held was encoded again"
    encode("minilm", prompts, tmp_path)
    assert len(model.seen) == 20 + lost, "and it is whole now"
    assert all(cache._key_of_bytes(path.read_bytes()) == path.stem for path in shards(tmp_path))


def test_a_failed_write_leaves_nothing_behind(use, tmp_path, monkeypatch):
    use(StandIn())

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EncoderError, match=r"cannot be kept in .*no space left.*the next run goes on from it"):
        encode("minilm", texts(8), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_processes_that_write_at_once_do_not_clash(tmp_path):
    """Two processes add shards to one folder at the same time; every vector is there afterwards."""
    script = (
        "import sys, numpy as np; from pathlib import Path; from embedllm.encoders import cache as e\n"
        "who = int(sys.argv[2])\n"
        "for i in range(25):\n"
        "    vectors = np.full((3, 4), who * 100 + i, np.float32)\n"
        "    e._write(Path(sys.argv[1]), [e.key(f'{who} {i} {j}') for j in range(3)], vectors)\n"
        "    e._read(Path(sys.argv[1]))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(who)]) for who in range(2)]
    assert [run.wait() for run in runs] == [0] * 2
    found = cache._read(tmp_path)
    assert len(found) == 2 * 25 * 3
    assert all(found[cache.key(f"{w} {i} 2")][0] == w * 100 + i for w in range(2) for i in range(25))


def test_a_full_cache_needs_neither_torch_nor_sentence_transformers(use, tmp_path):
    use(StandIn())
    encode("minilm", texts(10), tmp_path)
    script = (
        "import sys; from pathlib import Path; from embedllm.encoders.cache import encode\n"
        "encode('minilm', sys.argv[2:], Path(sys.argv[1]))\n"
        "print({'torch', 'sentence_transformers', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(tmp_path), *texts(10)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


# vectors that somebody else computed


def test_vectors_of_others_are_checked_scaled_and_not_cached(use, tmp_path):
    """A cache that holds them would make results depend on which data set was read first."""
    model = use(StandIn())
    prompts = texts(40)
    offered = np.stack([model.vector(text) for text in prompts]).astype(np.float16) * 3  # rounded and scaled
    encode("minilm", prompts[:6], tmp_path)
    before = shards(tmp_path)
    np.testing.assert_array_equal(checked("minilm", prompts, offered, tmp_path), unit(offered.astype(np.float32)))
    assert 32 <= len(model.seen) <= 38, "32 were drawn, of which the cache held six at most"
    assert shards(tmp_path) == before


@pytest.mark.parametrize(("n", "sample"), [(40, 32), (1000, 32), (2500, 50)])
def test_the_sample_grows_with_the_number_of_vectors(use, tmp_path, n, sample):
    model = use(StandIn())
    prompts = texts(n)
    checked("minilm", prompts, np.stack([model.vector(text) for text in prompts]), tmp_path)
    assert len(model.seen) == sample


def test_nobody_can_foresee_the_sample(use, tmp_path):
    prompts, samples = texts(80), []
    for _ in range(3):
        model = use(StandIn())
        checked("minilm", prompts, np.stack([model.vector(text) for text in prompts]), tmp_path)
        samples.append(frozenset(model.seen))
    assert len(set(samples)) > 1, "the same 32 of 80 by chance: one in 10 to the 22nd"


def test_vectors_of_another_encoder_are_refused(use, tmp_path):
    model = use(StandIn())
    prompts = texts(40)
    offered = np.stack([model.vector(text) for text in prompts[1:] + prompts[:1]])
    with pytest.raises(EncoderError, match=r"not its own: in row \d+ .* needed above 0.999"):
        checked("minilm", prompts, offered, tmp_path)


def test_most_of_many_wrong_vectors_are_found(use, tmp_path):
    """368 wrong ones of 400 passed once; of as few as 3 in 32, two in twenty times at most."""
    prompts, passed = texts(400), []
    for wrong in (368, 38):
        for _ in range(60 if wrong < 50 else 3):
            model = use(StandIn())
            offered = np.stack([model.vector(text) for text in prompts])
            offered[-wrong:] = np.roll(offered[-wrong:], 1, axis=0)
            try:
                checked("minilm", prompts, offered, tmp_path)
                passed.append(wrong)
            except EncoderError:
                pass
    assert passed.count(368) == 0
    assert passed.count(38) <= 10, "4 % are expected; more than 10 of 60 in one of 10,000 tries"


def test_all_that_is_cached_is_compared(use, tmp_path):
    model = use(StandIn())
    prompts = texts(400)
    encode("minilm", prompts, tmp_path)
    offered = np.stack([model.vector(text) for text in prompts])
    offered[17] = offered[16]
    with pytest.raises(EncoderError, match="in row 17 "):
        checked("minilm", prompts, offered, tmp_path)


@pytest.mark.parametrize(
    ("name", "offered", "message"),
    [
        ("minilm", np.ones((2, 768)), r"need vectors of shape \(2, 384\), found \(2, 768\)"),
        ("minilm", np.zeros((2, 384)), "2 of the ready-made vectors are zero or not finite"),
        ("minilm", np.full((2, 384), np.nan), "first in row 0"),
        ("hashing", np.ones((2, 256)), "none can be taken in"),
    ],
)
def test_what_is_wrong_with_vectors_is_named(use, tmp_path, name, offered, message):
    use(StandIn())
    with pytest.raises(EncoderError, match=message):
        checked(name, ["a", "b"], offered, tmp_path)


def test_what_is_known_stands_before_the_cache_and_is_kept(use, tmp_path):
    """Of a text that occurs twice the first vector, in whole numbers too."""
    model = use(StandIn())
    prompts = texts(20)
    encode("minilm", prompts, tmp_path / "cache")
    mine = unit(np.arange(1, 1 + 3 * 384, dtype=np.float32).reshape(3, 384) % 7)
    path = tmp_path / "kept.npz"
    keep(path, by_text([prompts[3], prompts[5], prompts[3]], mine))
    vectors = encode("minilm", [*prompts, "new"], tmp_path / "cache", known=kept(path))
    np.testing.assert_array_equal(vectors[[3, 5]], mine[:2])
    np.testing.assert_allclose(vectors[4], model.vector(prompts[4]), rtol=1e-4)
    assert model.seen[20:] == ["new"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_vectors_of_one_data_set_do_not_depend_on_another(use, tmp_path, monkeypatch, first):
    """Two with the same prompts, each with vectors of its own rounding, read in either order."""
    model = use(StandIn())
    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path / "artifacts")
    prompts = texts(40)
    exact = np.stack([model.vector(text) for text in prompts])
    offered = {"a": exact.astype(np.float16), "b": np.rint(460 * exact).astype(np.int8)}
    found = {}
    for name in sorted(offered, reverse=first == "b"):
        folder = tmp_path / name
        (folder / "vectors").mkdir(parents=True)
        questions = pd.DataFrame({"question_id": range(40), "prompt": prompts, "benchmark": "one"})
        questions.to_csv(folder / "questions.csv", index=False)
        wide = pd.DataFrame(np.eye(3, 40, dtype=int).T, columns=["m0", "m1", "m2"], index=questions["question_id"])
        wide.to_csv(folder / "outcomes.csv")
        np.savez(folder / "vectors" / "minilm.npz", question_id=np.arange(40), vectors=offered[name])
        p = read(TABLE, {"DATASET": "directory", "DATA_DIR": str(folder), "NAME": name})
        found[name] = data.prompt_vectors(p, data.load_outcomes(p))
    for name, vectors in found.items():
        np.testing.assert_array_equal(vectors, unit(offered[name].astype(np.float32)))


@pytest.mark.parametrize("wrong", [0, np.nan])
def test_what_a_model_gives_that_is_no_vector_is_named_and_not_kept(wrong, use, tmp_path):
    model, rows = use(StandIn(dim=383)), iter(range(1_000))
    with pytest.raises(EncoderError, match=r"must give float32 \((\d+), 384\), found float32 \(\1, 383\)"):
        encode("minilm", texts(20), tmp_path)
    model.dim = 384
    model.vector = lambda text: np.full(384, wrong if next(rows) == 19 else 1, np.float32)
    with pytest.raises(EncoderError, match=r"1 of \d+ vectors are not finite, or zero, the first that of 'question"):
        encode("minilm", texts(20), tmp_path)
    assert 8 <= sum(map(held, shards(tmp_path))) < 20, "those of the shards before"


def test_an_instruction_is_read_and_is_no_part_of_the_text(use, monkeypatch):
    model = use(StandIn())
    vectors = encode("minilm", ["a"], None)
    monkeypatch.setitem(ENCODERS, "minilm", replace(ENCODERS["minilm"], instruction="Judge: ", files="minilm"))
    told = encode("minilm", ["a"], None)
    assert model.seen == ["a", "Judge: a"]
    assert (vectors * told).sum() < 0.5


def test_what_differs_in_pooling_alone_is_encoded_in_one_pass(use, tmp_path):
    model = use(StandIn(dim=1280))
    mean = encode("gemma-mean", texts(5), tmp_path)
    last = encode("gemma-last", [*texts(5), "new"], tmp_path)
    assert len(model.seen) == 6, "of the five the vectors were there"
    whole = np.stack([model.vector(text) for text in texts(5)])
    np.testing.assert_allclose(mean, unit(whole[:, :640]), rtol=1e-4)
    np.testing.assert_allclose(last[:5], unit(whole[:, 640:]), rtol=1e-4)
    told = encode("gemma-last-told", ["new"], tmp_path)
    assert model.seen[-1] == ENCODERS["gemma-last-told"].instruction + "new"
    assert (told * last[5:]).sum() < 0.5


def test_an_encoder_without_weights_is_told_as_one(monkeypatch):
    monkeypatch.setitem(ENCODERS, "mine", Encoder("mine", dim=3))
    with pytest.raises(EncoderError, match=r"mine: its entry has no weights, so that .* vectors/mine\.npz"):
        encode("mine", ["a"], None)


def test_vectors_have_norm_one_whatever_the_model_gives(use):
    model = use(StandIn())
    expected = encode("minilm", texts(5), None)
    own = model.vector
    model.vector = lambda text: 7 * own(text)
    np.testing.assert_allclose(encode("minilm", texts(5), None), expected, rtol=1e-4)


def test_of_a_refused_encoder_only_vectors_of_the_reader_are_taken(tmp_path, rng):
    prompts, offered = texts(3), rng.standard_normal((3, 768))
    with pytest.raises(EncoderError) as caught:
        encode("cde-small", prompts, tmp_path)
    assert "runs code of its own repository, so that it is not loaded here" in str(caught.value)
    assert "vectors/cde-small.npz" in str(caught.value)
    with pytest.raises(EncoderError, match="no real numbers but <U"):
        checked("cde-small", prompts, offered.astype(str), tmp_path)
    taken = checked("cde-small", prompts, offered, tmp_path)
    np.testing.assert_allclose(taken, unit(offered), atol=1e-6)
    np.testing.assert_array_equal(encode("cde-small", prompts[::-1], None, known=by_text(prompts, taken)), taken[::-1])
    with pytest.raises(EncoderError, match="not loaded here"):
        encode("cde-small", [*prompts, "new"], tmp_path, known=by_text(prompts, taken))


def test_where_no_weights_are_known_vectors_of_the_reader_are_taken(tmp_path, rng, monkeypatch):
    """No hash is published of LaBSE; an entry that a reader adds may have nothing to load at all."""
    monkeypatch.setitem(ENCODERS, "own", Encoder(name="own", dim=5))
    for name, dim in (("labse", 768), ("own", 5)):
        offered = rng.standard_normal((3, dim))
        np.testing.assert_allclose(checked(name, texts(3), offered, tmp_path), unit(offered), atol=1e-6)
    with pytest.raises(EncoderError, match="its entry has no weights"):
        encode("own", ["a"], None)


# the real thing


OF_ONE_FILE = {"gemma-last", "gemma-mean-told", "gemma-last-told"}  # read as gemma-mean is, in a minute


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "minilm")) for name, entry in ENCODERS.items()
    if not (entry.path or entry.refused) and name not in OF_ONE_FILE])
def test_the_catalog_says_of_a_network_what_it_is(name):
    entry = ENCODERS[name]
    try:
        model = encoding.load(name)
    except EncoderError as error:
        pytest.skip(str(error))
    assert model.get_embedding_dimension() == entry.dim * len(encoding.at_once(name))
    assert sum(one.numel() for one in model.parameters()) == entry.parameters
    assert model.max_seq_length == (entry.max_tokens or np.inf)
    products = [one for path, one in model[0].named_modules()
                if isinstance(one, torch.nn.Linear) and ".pooler." not in path]  # not used: vectors are means of tokens
    assert 2 * sum(one.weight.numel() for one in products) == entry.flop


def published(name: str) -> tuple[pd.Series, np.ndarray]:
    """MMLU-Pro prompts and the vectors that came with them."""
    folder = SHARED / "mmlu-pro"
    if not folder.exists():
        pytest.skip(f"no real data in {folder} (set EMBEDLLM_TEST_DATA)")
    with np.load(folder / "vectors" / f"{name}.npz") as arrays:
        return pd.read_parquet(folder / "questions.parquet")["prompt"], arrays["vectors"].astype(np.float32)


@pytest.mark.parametrize("name", ["minilm", pytest.param("mpnet", marks=pytest.mark.slow)])
def test_vectors_equal_those_computed_elsewhere(name, tmp_path):
    """Eight prompts of all lengths, encoded without network, agree with vectors from another machine."""
    if not (weights.local(name) / "model.safetensors").exists():
        pytest.skip(f"no weights of {name} ({ENCODERS[name].weights.remedy})")
    prompts, vectors = published(name)
    rows = prompts.str.len().sort_values().index[:: len(prompts) // 8][:8]
    own = encode(name, prompts[rows], tmp_path)
    cosines = (own * vectors[rows]).sum(axis=1) / np.linalg.norm(vectors[rows], axis=1)
    assert cosines.min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1, atol=1e-5)


def test_every_file_that_an_encoder_reads_is_published():
    """What Python opens while the encoder is loaded and used (Rust reads weights and tokenizer, which are published).

    README.md makes the model card, which no vector depends on.
    """
    folder = weights.local("minilm")
    script = (
        "import sys; opened = set()\n"
        "sys.addaudithook(lambda event, args: event == 'open' and opened.add(str(args[0])))\n"
        "from embedllm.encoders.cache import encode\n"
        "encode('minilm', ['a prompt'], None)\n"
        "print('\\n'.join(path for path in opened if path.startswith(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    read = {str(Path(path).relative_to(folder)) for path in done.stdout.split()}
    assert {"config.json", "modules.json", "1_Pooling/config.json"} <= read
    assert read - {"README.md"} <= set(weights.published()["minilm"])
