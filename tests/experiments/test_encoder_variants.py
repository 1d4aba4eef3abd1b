"""Variants of prompts and vectors, and what no encoder beats."""

import numpy as np
import pandas as pd

from embedllm.encoders import fitted
from embedllm.experiments import encoder_variants as variants


def test_a_variant_is_compared_with_what_it_is_a_variant_of():
    names = ["mpnet", "minilm", "static-mpnet", "minilm-32", "gemma-mean", "static-minilm", "mpnet + minilm",
             "minilm, without options"]
    assert dict(variants.bases(names, "minilm")) == {
        "minilm": "mpnet", "static-mpnet": "mpnet", "minilm-32": "minilm", "gemma-mean": "mpnet",
        "static-minilm": "minilm", "mpnet + minilm": "mpnet", "minilm, without options": "minilm"}
    assert variants.bases(["random", "minilm-32"], "minilm") == [("minilm-32", "random")], "the base was not tried"


def test_options_are_cut_off_and_nothing_else():
    prompts = ["Which? Of these:\nA. one\nB. two", "(A) none\n(B) all", "Prove: A. is a letter.", "two\n(A) x\n(B) y"]
    assert fitted.without_options(prompts) == ["Which? Of these:", *prompts[1:3], "two"]


def test_variants_join_two_encoders_and_leave_options_out():
    seen = []

    def encode(texts):
        seen.extend(texts)
        return np.zeros((len(texts), 2))

    vectors = {"one": np.ones((2, 3)), "two": np.full((2, 1), 2.0), "three": np.eye(2)}
    found = variants.variants(["Q\nA. x", "R"], vectors, encode, "minilm")
    assert list(found) == ["one", "two", "three", "one + two", "minilm, without options"]
    np.testing.assert_array_equal(found["one + two"], [[1, 1, 1, 2]] * 2)
    assert seen == ["Q", "R"]
    assert list(variants.variants(["Q", "R"], {"one": vectors["one"]}, encode, "minilm")) == ["one"]


def test_the_front_is_what_none_beats_in_both():
    gains = pd.DataFrame({"method": list("abcd"), "difference": [-0.02, -0.01, -0.01, 0.001], "p_holm": 0.01,
                          "low": -0.03, "high": 0.01})
    measured = pd.DataFrame({"encoder": list("abcde"), "milliseconds": [10.0, 1.0, 2.0, 0.5, 0.1],
                             "prompts_per_second": [5.0, 4.0, 100.0, 90.0, 1e6], "flop": [9e9, np.nan, 1e9, 1e8, 1.0]})
    found = variants.costs(gains, measured).set_index("encoder")
    assert found.index.tolist() == list("abcd"), "the label, which nothing was earned over, and e have no row"
    assert found["front_one"].tolist() == [True, True, False, False], "d costs least and earns nothing"
    assert found["front_many"].tolist() == [True, False, True, False]
    assert found["front_flop"].tolist() == [True, False, True, False], "b is no network"
    assert found.loc["a", ["gain", "low", "high"]].tolist() == [0.02, -0.01, 0.03]
