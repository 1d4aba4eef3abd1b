"""`make encode-deep`: all that notebook 06 will read lies in the cache, or nothing is begun."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_table

from embedllm.encoders import weights
from embedllm.encoders.weights import EncoderError
from embedllm.study import encode


class Asked:
    """A run that remembers which vectors it was asked for."""

    def __init__(self, **parameters):
        self.parameters, self.seen = SimpleNamespace(FOLD_SEED=0, **parameters), []

    def table(self):
        return make_table(np.ones((2, 40)), ["a", "b"] * 20)

    def vectors(self, prompts):
        self.seen.append(("no options", len(prompts)))

    def vectors_of(self, table, encoder):
        self.seen.append((encoder, table.shape[1]))


def brought(monkeypatch, *names):
    """Vectors by these encoders lie beside the data."""
    monkeypatch.setattr(encode.data, "ready_made", lambda p, table, name: np.ones(1) if name in names else None)


def test_what_is_compared_is_encoded_whole_and_what_is_explored_on_the_sample(monkeypatch):
    brought(monkeypatch, "cde-small")
    run = Asked(ENCODERS=["minilm"], EXPLORED=["minilm-32", "cde-small", "hashing"], N_EXPLORED=10)
    encode.encode(run)
    assert run.seen == [("minilm", 40), ("minilm-32", 10), ("cde-small", 10), ("hashing", 10), ("no options", 10)]


def test_all_that_is_missing_is_told_before_anything_is_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "_from_hub", lambda name: (_ for _ in ()).throw(EncoderError(f"no {name}")))
    brought(monkeypatch, "mpnet", "cde-small")
    run = Asked(ENCODERS=["mpnet", "minilm"], EXPLORED=["gemma-mean", "labse", "cde-small"], N_EXPLORED=10)
    with pytest.raises(EncoderError) as caught:
        encode.encode(run)
    lines = str(caught.value).split("\n")
    assert lines[:2] == ["no mpnet", "no gemma-mean"] and lines[2].startswith("encoder labse: no hash of ")
    assert len(lines) == 3 and not run.seen
    found, told = encode.vectors_of_each(run, run.table(), ["mpnet", "minilm", "hashing"])
    assert list(found) == ["minilm", "hashing"] and told == ["no mpnet"]
    with pytest.raises(EncoderError, match="no mpnet"):
        encode.vectors_of_each(run, run.table(), ["mpnet"])
    [why] = encode.lacking(["nomic-ablated"])
    assert "put its vectors beside your data" in why
    found, told = encode.vectors_of_each(run, run.table(), ["cde-small", "nomic-ablated"])
    assert list(found) == ["cde-small"] and told == [why]
