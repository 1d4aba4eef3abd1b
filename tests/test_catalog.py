"""The catalog: one entry and one file make a forecaster, an encoder, a source or a policy; colors; who imports what."""

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import make_table

from embedllm import catalog, machine
from embedllm.conclusions import forecasting
from embedllm.encoders import cache
from embedllm.figures import style
from embedllm.forecasters import registry
from embedllm.routing import policies
from embedllm.study import data, paths, presets
from embedllm.study.parameters import Fitting, ParameterError, read
from embedllm.study.publish import cell

TESTS = Path(__file__).parent

DUMMIES = {
    "near": """
        from dataclasses import dataclass

        from embedllm.forecasters.neighbors import KNearestNeighbors

        @dataclass
        class Nearer(KNearestNeighbors):
            grid: tuple[int, ...] = (5, 21)
        """,
    "letters": """
        import numpy as np

        def counted(texts):
            return np.array([[len(text), text.count(" ")] for text in texts], np.float32)
        """,
    "dice": """
        import numpy as np
        import pandas as pd

        from embedllm.outcomes import OutcomeMatrix

        def load(path, *, n_models):
            names = pd.Index([f"m{number}" for number in range(n_models)], name="model")
            ids = pd.Index(["x", "y"], name="question_id")
            questions = pd.DataFrame({"prompt": ["a", "b"], "benchmark": "one"}, ids)
            return OutcomeMatrix(np.ones((n_models, 2), np.float32), pd.DataFrame(index=names), questions)
        """,
    "last": """
        import numpy as np

        def last_model(train, questions):
            return np.arange(len(train.models))
        """,
}
PLUGIN = """
from embedllm import catalog, machine
catalog.FORECASTERS["nearer"] = catalog.Forecaster("nearer", "near.Nearer", "#123456")
"""


@pytest.fixture
def dummies(tmp_path, monkeypatch):
    """One file and one entry each."""
    for name, source in DUMMIES.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(catalog.FORECASTERS, "nearer", catalog.Forecaster(
        "nearer", "near.Nearer", "#123456", knows="nothing", slow=True))
    monkeypatch.setitem(catalog.ENCODERS, "letters", catalog.Encoder("letters", "letters.counted", "#123457", dim=2))
    monkeypatch.setitem(catalog.SOURCES, "dice", catalog.Source("dice", "dice", origin="made"))
    monkeypatch.setitem(catalog.POLICIES, "last model", catalog.Policy("last model", "last.last_model", "#123458"))
    yield tmp_path
    for name in DUMMIES:
        sys.modules.pop(name, None)


def test_a_dummy_forecaster_is_taken_by_all(dummies, planted, monkeypatch):
    monkeypatch.setattr(machine, "workers", lambda: 1)  # workers of an earlier test do not know its file
    parts, _ = planted
    told = registry.forecast(parts, [catalog.FORECASTERS["nearer"]], seed=0)["nearer"]
    assert told.shape == parts["test"][0].shape
    told = forecasting.methods(catalog.to_compare(), {entry.name: 7 for entry in catalog.to_compare()})
    assert "| nearer | nothing | - | - |" in told and "| k, shrinkage | 7 |" in told
    assert "nearer" not in [entry.name for entry in catalog.to_compare(["slow"])]
    assert read("03_correctness_forecasting", {"SKIP": ["nearer"]}).SKIP == ["nearer"]
    assert style.color_of("nearer") == "#123456"


def test_the_inherited_suite_takes_a_dummy_forecaster(dummies):
    (dummies / "plugin.py").write_text(PLUGIN)
    path = os.pathsep.join([str(dummies), str(TESTS.parent / "src"), os.environ.get("PYTHONPATH", "")])
    inherited = str(TESTS / "forecasters" / "test_forecasters.py")
    suite = [sys.executable, "-m", "pytest", "-p", "plugin", "-k", "[nearer]", inherited]
    done = subprocess.run(suite, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, cwd=dummies)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 8


def test_a_dummy_encoder_is_taken_by_all(dummies, tmp_path):
    np.testing.assert_array_equal(cache.encode("letters", ["a b", "c"], tmp_path), [[3, 1], [1, 0]])
    assert read("06_embedder_ablation", {"ENCODERS": ["letters", "minilm"]}).ENCODERS == ["letters", "minilm"]
    assert " or letters" in cell("02_training")
    assert style.color_of("letters") == "#123457"


def test_a_dummy_source_is_taken_by_all(dummies):
    parameters = read("01_data_preparation", {"DATASET": "dice", "N_MODELS": 16})
    paths.check_data_dir(parameters)
    assert data.load_outcomes(parameters).shape == (16, 2)
    assert " or dice" in cell("01_data_preparation")
    with pytest.raises(ParameterError, match="taken by the study itself"):
        read("01_data_preparation", {"NAME": "dice"})


def test_a_dummy_policy_is_taken_by_all(dummies):
    table = make_table([[1, 1, 0], [0, 1, 1], [0, 0, 1]])
    forecasts = dict.fromkeys(("kNN", "factorization"), np.eye(3, dtype=np.float32))
    choices, reached = policies.route(table, table, forecasts)
    np.testing.assert_array_equal(choices["last model"], [2, 2, 2])
    np.testing.assert_array_equal(reached["last model"], [0, 0, 1])


def test_the_published_settings_and_the_names_of_settings_are_those_of_preset_and_parameters():
    preset = presets.read_preset("published", "mmlu-pro")
    assert {"PRESET": "published"} | {name.upper(): value for name, value in catalog.PUBLISHED.items()} == preset
    assert set(catalog.TRAINING) == set(Fitting().fitting)


def test_no_two_methods_share_a_color():
    """Nor nearly: 20 steps of one of the three lights lie between any two."""
    colors = catalog.colors()
    lights = {name: np.array([int(value[at : at + 2], 16) for at in (1, 3, 5)]) for name, value in colors.items()}
    near = [(a, b) for a, b in combinations(lights, 2) if np.abs(lights[a] - lights[b]).max() < 20]
    assert not near
    groups = (catalog.FORECASTERS, catalog.ENCODERS, catalog.POLICIES, catalog.DRAWN)
    assert not [entry.name for group in groups for entry in group.values() if not entry.color]
    assert all(style.color_of(entry.name) == entry.color for group in groups for entry in group.values()), \
        "one name, one color, whatever it is an entry of"


def test_presentation_does_not_tell_results_apart():
    knn = catalog.KNN
    assert replace(knn, color="#000001", knows="", tuned_on="", role="ours", slow=True) == knn
    for changed in (
        {"name": "other"}, {"settings": {"grid": (5,)}}, {"takes": ("seed",)}, {"members": (knn,)},
        {"prompts": "embedllm.forecasters.registry.noise"}, {"grid": {"dim": (2,)}},
        {"path": "embedllm.forecasters.means.ModelMean"},
    ):
        assert replace(knn, **changed) != knn
    assert {one.name for one in fields(knn)} == {
        "name", "path", "color", "role", "knows", "tuned_on", "reads", "slow", "takes", "settings", "grid", "members",
        "prompts"}, "say above what counts"



@pytest.mark.parametrize("group", [catalog.FORECASTERS, catalog.ENCODERS, catalog.SOURCES, catalog.POLICIES])
def test_every_path_leads_to_code(group):
    for name, entry in group.items():
        assert entry.name == name
        assert not entry.path or entry.code()


def test_names_settings_and_figures_need_no_forecaster_and_no_torch():
    code = """
import sys
from embedllm import catalog, machine
from embedllm.figures import plots, style
from embedllm.study import publish, runs
catalog.colors(), catalog.to_compare(), publish.cell("03_correctness_forecasting")
paths = {entry.path.rpartition(".")[0] for entry in catalog.FORECASTERS.values()}
print(sorted((paths | {"torch", "sklearn"}) & sys.modules.keys()))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
