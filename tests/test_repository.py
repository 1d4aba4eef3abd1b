"""What a clone promises: one list of pins, a README whose examples run, no path of one machine."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SHARED, write_directory
from packaging.requirements import Requirement
from PIL import Image

from embedllm.audit.variance import variance_components
from embedllm.catalog import SOURCES
from embedllm.files import ROOT
from embedllm.outcomes import by_benchmark
from embedllm.presentation import literal
from embedllm.sources import directory
from embedllm.splits import divide
from embedllm.study.parameters import read
from embedllm.study.publish import readme_tables

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
README = (ROOT / "README.md").read_text()


def tracked() -> list[str]:
    """Files that git would commit; the whole test is for clones."""
    found = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.splitlines() if (ROOT / name).exists()]


def test_papermill_lines_of_the_readme_name_parameters_of_their_notebook():
    lines = re.findall(r"papermill notebooks/(\w+)\.ipynb .*", README)
    told = [re.findall(r"-p (\w+) (\S+)", line) for line in re.findall(r"papermill notebooks/.*", README)]
    assert lines and all(told)
    for notebook, values in zip(lines, told, strict=True):
        read(notebook, {name: yaml.safe_load(value) for name, value in values})


def test_the_lock_pins_every_dependency_with_hashes_and_no_torch():
    pinned = {Requirement(line.split("\\")[0].split(" --hash")[0]).name: line for line in LOCK.splitlines()
              if re.match(r"^[a-z0-9]", line)}
    wanted = PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["dev"]
    assert {Requirement(text).name for text in wanted} - set(pinned) == {"torch"}
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]
    assert all("==" in entry.split("\n")[0] and "--hash=sha256:" in entry for entry in entries_of(LOCK))


def entries_of(lock: str) -> list[str]:
    return re.split(r"\n(?=[a-z0-9])", lock)[1:]


@pytest.mark.parametrize("extra", ["data", "encoders"])
def test_what_an_extra_adds_is_pinned_and_leaves_the_lock_as_it_is(extra):
    entries = entries_of((ROOT / f"requirements-{extra}.lock").read_text())
    added = {Requirement(entry.split("\\")[0]) for entry in entries}
    wanted = [Requirement(text) for text in PYPROJECT["project"]["optional-dependencies"][extra]]
    assert {one.name for one in added} == {one.name for one in wanted}
    for one in wanted:
        pinned = next(other for other in added if other.name == one.name)
        assert str(pinned.specifier).startswith("==")
        assert one.specifier.contains(str(pinned.specifier)[2:])
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not {one.name for one in added} & {re.split("[= ]", entry)[0] for entry in entries_of(LOCK)}
    text = (ROOT / "Makefile").read_text()
    assert extra in re.search("^KNOWN_EXTRAS := (.*)$", text, re.MULTILINE)[1].split()


def test_torch_has_one_version():
    (torch,) = [Requirement(text) for text in PYPROJECT["project"]["dependencies"] if text.startswith("torch")]
    lines = (ROOT / "requirements-torch.txt").read_text().splitlines()
    versions = {re.match(r"torch==([\d.]+)", line)[1] for line in lines if line.startswith("torch")}
    assert {f"=={version}" for version in versions} == {str(torch.specifier)}


def test_conda_gets_python_and_no_second_list_of_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, *others = environment["dependencies"]
    assert others == ["pip", "make"]
    minimum = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.removeprefix("python=").split("."))) >= tuple(map(int, minimum.split(".")))
    assert f"name: {environment['name']}" in (ROOT / "environment.yml").read_text()
    assert f"conda activate {environment['name']}" in README


def test_the_installed_packages_are_the_pinned_ones():
    from importlib.metadata import version

    for name in ("numpy", "pandas", "papermill", "seaborn", "sentence-transformers", "statsmodels", "jupyterlab"):
        assert f"\n{name}=={version(name)} " in LOCK


def test_no_file_names_a_path_of_one_machine_or_is_large():
    for name in tracked():
        content = (ROOT / name).read_bytes()
        assert len(content) < 2_500_000, name
        if not name.endswith((".png", ".lock", ".parquet")):
            assert not re.search(rb"/(home|Users|root|work|tmp)/[a-z]", content), name
    notebooks = sum((ROOT / name).stat().st_size for name in tracked() if name.endswith(".ipynb"))
    assert notebooks < 5_000_000


def test_galleries_show_the_figures_that_are_there():
    for page in (name for name in tracked() if name.startswith("figures/") and name.endswith("/README.md")):
        text, folder = (ROOT / page).read_text(), (ROOT / page).parent
        for kind, pattern in ("png", r'src="([^"]+)"'), ("csv", r"\]\(([^)]+\.csv)\)"):
            there = {path.name for path in folder.glob(f"*.{kind}")}
            assert set(re.findall(pattern, text)) == there, f"{page} is older than what it shows: run its notebooks"
        for path in folder.glob("*.png"):
            assert f"\n{literal(Image.open(path).info['Description'])} [" in text, path


def test_the_audit_and_the_sources_load_no_forecaster_and_no_torch():
    names = [f"embedllm.sources.{path.stem}" for path in (ROOT / "src" / "embedllm" / "sources").glob("*.py")]
    code = f"""import {', '.join(['embedllm.check', 'embedllm.audit.report', *names])}, sys
print([name for name, module in sys.modules.items() if name == "torch" or name.startswith("embedllm")
       and any(hasattr(value, "predict_proba") for value in vars(module).values())])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_wheel_carries_the_data(tmp_path):
    """Built from a copy and installed elsewhere, the package finds its tables."""
    shutil.copytree(ROOT / "src", tmp_path / "tree" / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, tmp_path / "tree"], check=True)
    [wheel] = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "other", wheel], check=True)
    code = """import embedllm
from embedllm.claims import all_claims
from embedllm.sources import alpaca_eval, mmlu_pro, simulated
print(embedllm.__file__, mmlu_pro.load().shape, len(all_claims()), len(alpaca_eval.facts()))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(tmp_path / "other")})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "other")) and "(29, 12032) 26 " in done.stdout


def test_no_private_name_crosses_files():
    """A leading underscore stays in its file, or, as the name of a module, in its folder."""
    files = sorted((ROOT / "src").rglob("*.py"))
    assert len(files) > 40
    for path in files:
        tree, modules = ast.parse(path.read_text()), set()
        own = path.relative_to(ROOT / "src").parent.parts
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "embedllm":
                *folder, module = node.module.split(".")
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{path.name} imports {private} from {node.module}"
                assert not module.startswith("_") or tuple(folder) == own, f"{path.name} imports from {node.module}"
                modules |= {alias.asname or alias.name for alias in node.names}
        reached = {f"{node.value.id}.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                   and isinstance(node.value, ast.Name) and node.value.id in modules and re.match("_[a-z]", node.attr)}
        assert not reached, f"{path.name} reaches for {reached}"


SUFFIXES = ("py", "csv", "parquet", "toml")
FLOORS = [  # from the ground up; a room imports from the floors below its own
    ("entries",), ("files", "hub", "catalog", "presentation", "progress"), ("machine", "claims", "outcomes"),
    ("splits", "levels", "lineages", "encoders", "figures"),
    ("sources", "evaluation"), ("audit", "forecasters", "study"), ("probing",), ("routing", "new_models"),
    ("experiments",), ("conclusions",), ("bench", "check"),
]
KEPT_APART = {"encoders": {"outcomes"}, "figures": {"outcomes"}, "forecasters": {"sources", "figures"},
              "audit": {"encoders", "figures"}}


def test_rooms_import_from_the_floors_below():
    """So that a newcomer can read one floor after the other, and nothing loads what it does not need."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    home = ROOT / "src" / "embedllm"
    for path in home.rglob("*.py"):
        room = path.relative_to(home).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path.name}: a relative import"
            assert not (isinstance(node, ast.Import) and any(one.name.startswith("embedllm.") for one in node.names)), \
                f"{path.name}: from embedllm.room import what is used"
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "embedllm":
                rooms = {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
                for other in rooms - {room}:
                    assert floor[other] < floor[room], f"{path.name} ({room}) imports {other}"
                    assert other not in KEPT_APART.get(room, ()), f"{path.name} ({room}) imports {other}"
    assert floor.keys() == {path.stem for path in home.glob("*") if path.stem[0] != "_"}
    assert all(not path.read_text() for path in home.glob("*/__init__.py"))


LONG = {  # files of more than 260 lines, and why
    "parameters.py": "what every notebook can be told, as data",
    "catalog.py": "data", "outcomes.py": "the one data structure, with its file and the rule for repeated rows",
    "closure.py": "one idea: which code a function uses",
}


def test_files_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {path.name for path, number in lines.items() if number > 260} <= LONG.keys()


def test_what_docstrings_point_to_is_there():
    """`module.name` in backticks, where the package has a module of that name, names something in it."""
    known: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "embedllm").rglob("*.py"):
        names = {name for node in ast.parse(path.read_text()).body for name in (
            [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else
            [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)])}
        known.setdefault(path.stem, {*SUFFIXES}).update(names)
    known.pop("embedllm")  # a source has the package's own name
    pages = [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "CONTRIBUTING.md"]
    said = [(page.name, *found) for page in pages
            for found in re.findall(r"(?<!`)`([a-z_]+)\.([A-Za-z_]+)[\w.]*`(?!`)", page.read_text())]
    assert sum(module in known for _, module, _ in said) > 50
    assert not [place for place in said if place[1] in known and place[2] not in known[place[1]]]


def code_block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


def test_the_readmes_smallest_tables_are_read(tmp_path):
    (tmp_path / "outcomes.csv").write_text(code_block("csv", 0))
    (tmp_path / "questions.csv").write_text(code_block("csv", 1))
    table = directory.load(tmp_path)
    np.testing.assert_array_equal(table.scores, np.float32([[1, 0.5], [1, 0]]))
    assert list(table.models.index) == ["large-llm", "small-llm"]
    (tmp_path / "outcomes.csv").write_text(code_block("csv", 2))
    assert directory.load(tmp_path).fingerprint == table.fingerprint


def test_the_readmes_example_folder_holds_a_signal_whatever_the_split(tmp_path):
    exec(code_block("python").replace("path/to/folder", str(tmp_path / "new")), {})
    table = directory.load(tmp_path / "new")
    assert table.shape == (12, 1000)
    for seed in range(40):
        assert divide(table, seed=seed).questions["part"].notna().all()
    shares = variance_components(table).set_index("component")["share"]
    assert shares["model"] > 0.02 and shares["model x benchmark"] > 0.1 and shares["question within benchmark"] > 0.2
    assert by_benchmark(table).idxmax().nunique() == 2, "each benchmark has a best model of its own"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_readmes_examples_run(tmp_path, number):
    write_directory(tmp_path, n_models=4, n_questions=40)
    code = code_block("python", number).replace("path/to/folder", str(tmp_path))
    code = code.replace("artifacts", str(tmp_path / "artifacts"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bllm[0-3]\b", done.stdout)


def test_the_readmes_links_and_files_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("mark", ["hero", "claims", "times", "speed"])
def test_the_readmes_tables_are_those_of_the_figures(mark):
    if os.environ.get("EMBEDLLM_FIGURES"):
        pytest.skip("EMBEDLLM_FIGURES names other figures than those committed")
    if mark in ("times", "speed"):  # they differ on every machine, results do not
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "figures/*timing_*"], cwd=ROOT)
        if changed.returncode:
            pytest.skip("the times in figures/ are not those committed; `make publish` renews the tables")
    found = re.search(rf"<!-- {mark}:begin -->\n(.*?)\n<!-- {mark}:end -->", README, re.S)
    assert found and found[1] == readme_tables()[mark], f"README table {mark} is stale: make publish"


SPAN, FREE = 80, ("mmlu-pro", "simulated")  # letters of a prompt that may be shown; whose prompts are shown in full


def excerpts(text: str) -> set[int]:
    """Hashes of every stretch of prose that is one letter too long."""
    lines = (line for line in text.splitlines() if len(line) > SPAN)
    parts = (line[at : at + SPAN + 1] for line in lines for at in range(len(line) - SPAN))
    return {hash(part) for part in parts if part.count(" ") > 6}


@pytest.mark.parametrize("name", sorted({name for name, entry in SOURCES.items() if entry.published} - set(FREE)))
def test_no_more_of_a_prompt_is_shown_than_its_license_allows(name):
    """In galleries, tables, and the committed notebooks: of a longer excerpt some aligned piece would be found."""
    if not (SHARED / name / "questions.parquet").exists():
        pytest.skip(f"no real data in {SHARED / name} (set EMBEDLLM_TEST_DATA)")
    pages = [path for path in (ROOT / "figures" / name).rglob("*") if path.suffix in (".md", ".csv", ".json", ".svg")]
    pages += [*(ROOT / "notebooks").glob("*.ipynb"), ROOT / "README.md", ROOT / "figures" / "CLAIMS.md"]
    shown = set().union(*(excerpts(page.read_text()) for page in pages if page.exists()))
    questions = pd.read_parquet(SHARED / name / "questions.parquet")
    own = questions[~questions["question_id"].astype(str).str.startswith("mmlu_pro/")]
    found = [prompt[at : at + SPAN + 1] for prompt in own["prompt"] for at in range(0, max(len(prompt) - SPAN, 0), SPAN)
             if hash(prompt[at : at + SPAN + 1]) in shown]
    assert len(own) > 500 and not found
