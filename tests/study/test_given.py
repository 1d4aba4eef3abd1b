"""Names that a notebook is told: parameters, whatever their case, and nothing else."""

import json

import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from embedllm.files import ROOT
from embedllm.study import paths, runs
from embedllm.study.given import from_namespace
from embedllm.study.parameters import NOTEBOOKS, ParameterError
from embedllm.study.publish import cell


def injected(**values) -> str:
    """The cell that papermill writes for some parameters."""
    notebook = load_notebook_node(str(ROOT / "notebooks" / "02_training.ipynb"))
    [found] = [one for one in parameterize_notebook(notebook, values).cells
               if "injected-parameters" in one["metadata"].get("tags", [])]
    return found["source"]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """`runs.start` of notebook 02 after some cells."""
    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")

    def started(*cells, **bound):
        namespace = {"In": ["", *cells]}
        for source in cells:
            exec(source, namespace)
        return runs.start("02_training", namespace | bound)

    return started


@pytest.mark.parametrize(("values", "message"), [
    ({"dim": 8}, "unknown parameter dim; did you mean DIM?"),
    ({"Dim": 8, "SEED": 1}, "unknown parameter Dim; did you mean DIM?"),
    ({"learning_rates": 0.1}, "unknown parameter learning_rates; did you mean LEARNING_RATE?"),
    ({"zzz": 1}, "unknown parameter zzz; known here: DATASET"),
])
def test_a_name_that_papermill_was_given_is_a_parameter(start, values, message):
    with pytest.raises(ParameterError, match=message):
        start(cell("02_training"), injected(**values))
    assert start(cell("02_training"), injected(DIM=8)).parameters.DIM == 8


def test_a_name_written_into_the_tagged_cell_is_a_parameter_until_it_is_mended(start):
    wrong = cell("02_training") + "\ndim = 8"
    with pytest.raises(ParameterError, match="unknown parameter dim"):
        start(wrong)
    assert start(wrong, cell("02_training")).parameters.DIM == 232


@pytest.mark.parametrize("name", list(NOTEBOOKS))
def test_no_name_that_a_notebook_binds_is_taken_for_a_parameter(name):
    """Its first cells may run again after all others, which bind `cells`, `sizes` and the like."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    sources = ["".join(one["source"]) for one in cells if one["cell_type"] == "code"]
    names = {word for source in sources for word in compile(source, name, "exec").co_names}
    found = from_namespace(dict.fromkeys(names | {known.lower() for known in NOTEBOOKS[name].model_fields})
                           | {"In": ["", *sources, "%magic", "# Parameters of a plot\nwidth = 3", injected(SEED=1)],
                              "_": 1, "exit": 1, "width": 3})
    assert {found_name for found_name in found if not found_name.isupper()} == set()
