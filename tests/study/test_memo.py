"""Remembered results: what makes them stale, what does not, and what a damaged one is worth."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import conftest
import numpy as np
import pandas as pd
import pytest
from conftest import flipped, make_table, same

from embedllm import catalog
from embedllm.forecasters import networks
from embedllm.forecasters.factorization import Factorization
from embedllm.study import closure, memo
from embedllm.study.fingerprint import fingerprint
from embedllm.study.memo import Memory

SOURCE = closure.HOME
USERS = {  # what notebooks remember, and whether networks.TwoLayer is behind it
    "forecasters.networks.TwoLayer": True, "experiments.comparisons.train": False,
    "forecasters.registry.fitted_forecasts": False, "experiments.worlds.reached": False,
    "experiments.probes.size_communities": False,
}
# Forecasts of the whole catalog on a small table, through a memory in the folder of argv: which were computed?
FORECASTS = """
import json, sys
from dataclasses import replace
from pathlib import Path
import conftest
import numpy as np
from conftest import make_parts
from embedllm import catalog
from embedllm.forecasters import registry
from embedllm.study.memo import Memory

memory, computed = Memory(Path(sys.argv[1])), []
rng = np.random.default_rng(0)
parts = make_parts(rng.standard_normal((8, 200)), rng.standard_normal((200, 4)))
for entry in [entry for entry in catalog.FORECASTERS.values() if not entry.members]:
    quick = replace(entry, grid={name: values[:1] for name, values in entry.grid.items()})
    before = memory.read_back
    registry.forecast(parts, [quick], memory.remember_all, seed=0, epochs=2, dim=2)
    computed += [entry.name] * (memory.read_back == before)
print(json.dumps(computed))
"""


def run(folder: Path, code: str, *arguments: str):
    """What a process prints as JSON that has the package of a folder, and the helpers of the tests."""
    path = os.pathsep.join([str(folder), str(Path(conftest.__file__).parent)])
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=os.environ | {"PYTHONPATH": path},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    shutil.copytree(SOURCE, tmp_path / "copy" / "embedllm", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def test_a_change_moves_the_keys_of_its_users_and_no_other(package):
    roots = [["embedllm." + name.rpartition(".")[0], name.rpartition(".")[2]] for name in USERS]
    code = f"""import json
from embedllm.study import closure
print(json.dumps([closure.code([root]).digest for root in {roots}]))"""
    before = run(package, code)
    module = package / "embedllm" / "forecasters" / "networks.py"
    replace(module, "hidden: int = 64", "hidden: int = 64  # wide")
    replace(module, '"""A network over', '"""One more network over')
    replace(module, "        return logits\n", "\n        return (\n            logits)\n")
    assert run(package, code) == before, "comments, docstrings and layout"
    replace(module, "hidden: int = 64", "hidden: int = 65")
    moved = [one != other for one, other in zip(before, run(package, code), strict=True)]
    assert dict(zip(USERS, moved, strict=True)) == USERS


@pytest.mark.slow
def test_a_change_in_one_forecaster_computes_its_forecasts_anew_and_no_others(package, tmp_path):
    def computed() -> set[str]:
        return set(run(package, FORECASTS, str(tmp_path / "memo")))

    alone = {name: entry for name, entry in catalog.FORECASTERS.items() if not entry.members}
    assert computed() == {*alone}
    assert computed() == set()
    factorizations = {name for name, entry in alone.items() if entry.path.endswith(".Factorization")}
    for module, old, new, users in (
        ("forecasters/networks", "hidden: int = 64", "hidden: int = 32", {"two-layer network"}),
        ("catalog", "#E69F00", "#E69F01", set()),
        ("catalog", '"weight_decay": (1e-7, ', '"weight_decay": (2e-7, ', {"2PL with text"}),
        ("forecasters/training", "TINY, SETTLE = 1e-30, 100", "TINY, SETTLE = 1e-30, 90", factorizations | {
            "2PL with text", "MIRT with text", "two-layer network"}),
    ):
        replace(package / "embedllm" / f"{module}.py", old, new)
        assert computed() == users, (module, new)


MODULES = {
    "used": """
        SCALE = 2
        def late():
            from embedllm import tools
            return tools.number()
        def constant():
            return SCALE
        def inherited():
            from embedllm.tools import Child
            return Child().value()
        def decorated():
            from embedllm.tools import twice as wrapped
            return wrapped()
        def data():
            import pathlib
            return int((pathlib.Path(__file__).parent / "numbers" / "one.txt").read_text())
        def dotted():
            import importlib
            module, name = "embedllm.paths:Named".split(":")
            return getattr(importlib.import_module(module), name)().value()
        def passed_around():
            import embedllm.whole as module
            return getattr(module, "num" + "ber")()
        def loaded():
            import embedllm.effects
            import embedllm.state
            return embedllm.state.VALUES[0]
        """,
    "tools": """
        from embedllm.base import Parent, doubling
        def number():
            return 1
        class Child(Parent):
            pass
        @doubling
        def twice():
            return 1
        """,
    "base": """
        import functools
        class Parent:
            def value(self):
                return 1
        def doubling(function):
            @functools.wraps(function)
            def wrapped():
                return function() * 2
            return wrapped
        """,
    "paths": """
        class Named:
            def value(self):
                return 1
        """,
    "whole": """
        def number():
            return 1
        """,
    "state": "VALUES = [1]\n",
    "effects": """
        from embedllm import state
        state.VALUES[0] = 5
        """,
}
CHANGES = {  # function: the file behind it, and a change of it
    "late": ("tools.py", "def number():\n    return 1", "def number():\n    return 7"),
    "constant": ("used.py", "SCALE = 2", "SCALE = 7"),
    "inherited": ("base.py", "def value(self):\n        return 1", "def value(self):\n        return 7"),
    "decorated": ("base.py", "function() * 2", "function() * 7"),
    "data": ("numbers/one.txt", "1", "7"),
    "dotted": ("paths.py", "return 1", "return 7"),
    "passed_around": ("whole.py", "return 1", "return 7"),
    "loaded": ("effects.py", "= 5", "= 7"),
}
REMEMBERED = f"""
import json, pathlib
import embedllm
from embedllm import used
from embedllm.study.memo import Memory
out = {{}}
for name in {list(CHANGES)}:
    memory = Memory(pathlib.Path(embedllm.__path__[0]).parent / "memo")
    kept = memory.remember(getattr(used, name + "_array"))
    out[name] = [int(kept[0]), memory.read_back]
print(json.dumps(out))
"""


def test_nothing_stale_is_read_however_the_code_is_reached(tmp_path):
    """Each change is seen by the function behind which it lies, and by no other."""
    home = tmp_path / "embedllm"
    (home / "numbers").mkdir(parents=True)
    (home / "numbers" / "one.txt").write_text("1")
    (home / "__init__.py").touch()
    (home / "study").mkdir()
    for name in ("files.py", "machine.py", "progress.py",
                 *(f"study/{name}.py" for name in ("__init__", "closure", "fingerprint", "memo"))):
        shutil.copy(SOURCE / name, home / name)
    for name, text in MODULES.items():
        (home / f"{name}.py").write_text(textwrap.dedent(text))
    with (home / "used.py").open("a") as file:
        file.write("import numpy as np\n")
        file.writelines(f"def {name}_array():\n    return np.array([{name}()])\n" for name in CHANGES)
    before = run(tmp_path, REMEMBERED)
    assert run(tmp_path, REMEMBERED) == {name: [value, 1] for name, (value, _) in before.items()}
    for name, (file, old, new) in CHANGES.items():
        replace(home / file, old, new)
        after = run(tmp_path, REMEMBERED)
        assert [other for other in CHANGES if after[other][1] == 0] == [name]
        assert after[name][0] == 7 != before[name][0], f"{name}: the new value"
    (home / "tools.py").write_text((home / "tools.py").read_text().replace("from embedllm.base", "from .base"))
    with pytest.raises(AssertionError, match=r"CodeError: .*tools\.py, line 2: a relative import"):
        run(tmp_path, REMEMBERED)


def test_what_is_computed_from_files_edited_since_is_not_kept(package):
    code = """
import json, pathlib, sys
import conftest
import numpy as np
from embedllm import outcomes
from embedllm.study.memo import Memory
file = pathlib.Path(outcomes.__file__)
file.write_text(file.read_text().replace("np.packbits(", "np.packbits(1 * "))
said, sys.stdout = sys.stdout, sys.stderr
Memory(file.parent / "memo").remember(outcomes._packed, np.ones((2, 2)))
print(json.dumps((file.parent / "memo").exists()), file=said)
"""
    assert run(package, code) is False


CALLS = []


def first(value, other=None):
    CALLS.append(value)
    return np.ones(2)


@dataclass(frozen=True)
class Entry:
    name: str
    path: str = ""
    color: str = field(default="#000000", compare=False)


def key(value) -> tuple[str, str]:
    roots = {(first.__module__, first.__qualname__)}
    print_of = fingerprint(value, roots)
    return print_of, closure.code(roots).digest


@pytest.mark.parametrize(("one", "other"), [
    ({"a": 1}, {"b": 1}), ({"a": 1}, {"a": "1"}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([], {}), ([[1], 2], [1, [2]]),
    (np.zeros(4, np.float32), np.zeros(2)), (np.zeros((2, 1)), np.zeros((1, 2))), (np.array(["a"]), np.array(["b"])),
    (pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [1.0]})), (pd.DataFrame({"x": [1]}), pd.DataFrame({"y": [1]})),
    (pd.DataFrame({"x": [1]}, index=["a"]), pd.DataFrame({"x": [1]}, index=["b"])),
    (pd.DataFrame({"x": ["1"]}), pd.DataFrame({"x": [1]}).astype(object)), (pd.Series([1], name="a"), pd.Series([1])),
    (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["b", "a"]))),
    (Entry("a"), Entry("b")), (Entry("a"), {"name": "a", "path": "", "color": "#000000"}),
    (Entry("a"), Entry("a", "embedllm.forecasters.networks:TwoLayer")),
    (networks.TwoLayer(), networks.TwoLayer(hidden=3)),
    (networks.TwoLayer(), networks.ItemResponse()),
])
def test_different_arguments_have_different_keys(one, other):
    assert key(one)[0] != key(other)[0]
    assert key(one) == key(one)


def test_how_a_thing_is_drawn_changes_no_key():
    assert key(Entry("a")) == key(Entry("a", color="#ffffff"))


def test_an_argument_brings_the_code_of_its_class_and_of_what_it_names():
    plain = key(Entry("a"))[1]
    values = networks.TwoLayer(), [{"in": networks.ItemResponse()}], Entry("a", "embedllm.splits.split"), memo.Memory
    assert len({plain, *(key(value)[1] for value in values)}) == 5
    assert key(networks.TwoLayer)[1] == key(networks.TwoLayer())[1] == key("embedllm.forecasters.networks:TwoLayer")[1]
    assert key("embedllm.nothing of the kind")[1] == key("embedllm.csv")[1] == plain


def test_what_a_fit_has_learned_counts(planted):
    parts = planted[0]
    model = Factorization(dim=2, epochs=1, seed=0)
    before = key(model)
    model.fit(*parts["train"], *parts["val"])
    after = key(model)
    assert after != before
    model.model_vectors = model.model_vectors + 1
    assert key(model) != after


def test_an_argument_that_nothing_identifies_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"is a builtins.object, of which nothing tells two apart"):
        Memory(tmp_path).remember(first, object())


def test_a_function_without_a_file_is_refused(tmp_path):
    code = """
import json, pathlib, sys
from embedllm.study.memo import Memory
try:
    Memory(pathlib.Path(sys.argv[0])).remember(lambda: None)
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""
    assert run(SOURCE.parent, code) == (
        "CodeError: <lambda> of __main__ stands in no file that can be read: move it into a module")


def results():
    return {"a table": pd.DataFrame({"x": [1.5, 2.5], "y": ["b", None]}, index=["r", "s"]), "array": np.arange(12.0)}


def wide():
    index = pd.MultiIndex.from_tuples([("kNN", 0.5, "accuracy"), ("kNN", 1.0, "accuracy")],
                                      names=["forecaster", "share", "metric"])
    return pd.DataFrame(np.arange(6000.0).reshape(2, 3000), index, pd.Index(map(str, range(3000)), name="question_id"))


def test_a_table_of_thousands_of_columns_is_read_back_whole_and_soon(tmp_path):
    first, again = (Memory(tmp_path).remember(wide) for _ in range(2))
    pd.testing.assert_frame_equal(again, first)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 200_000


def wider_than_long():
    return pd.DataFrame(np.arange(8.0).reshape(2, 4), columns=list("abcd"))


def test_a_table_that_is_wider_than_long_is_read_back_without_names_of_its_rows(tmp_path):
    first = Memory(tmp_path).remember(wider_than_long)
    memory = Memory(tmp_path)
    pd.testing.assert_frame_equal(memory.remember(wider_than_long), first)
    assert memory.read_back == 1


def test_no_flipped_bit_is_trusted(tmp_path):
    """A few dozen flips over the files of a remembered result, each ending in the same value again."""
    Memory(tmp_path).remember(results)
    (kept,) = tmp_path.iterdir()
    for path, content in flipped([path for path in kept.rglob("*") if path.is_file()], 40):
        original = path.read_bytes()
        path.write_bytes(content)
        memory = Memory(tmp_path)
        assert same(memory.remember(results), results())
        assert memory.read_back == 0, "computed anew"
        assert [folder.name for folder in tmp_path.iterdir()] == [kept.name]
        assert path.read_bytes() == original


@pytest.mark.parametrize("damage", ["missing file", "another file", "cut", "two candidates", "unreadable"])
def test_a_result_that_is_not_whole_is_computed_anew(tmp_path, damage):
    CALLS.clear()
    Memory(tmp_path).remember(first, 1)
    (kept,) = tmp_path.iterdir()
    file = kept / "result.npy"
    if damage == "missing file":
        file.unlink()
    elif damage == "another file":
        (kept / "result.parquet").touch()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "two candidates":
        shutil.copytree(kept, kept.with_name(f"{kept.name[:-16]}{'0' * 16}"))
    else:  # whole, but nothing that this version can read
        file.write_bytes(b"from another world")
        kept.rename(kept.with_name(f"{kept.name[:-16]}{memo._digest(kept)[:16]}"))
    np.testing.assert_array_equal(Memory(tmp_path).remember(first, 1), np.ones(2))
    assert CALLS == [1, 1]
    assert [folder.name for folder in tmp_path.iterdir()] == [kept.name]


def test_a_table_is_known_by_its_fingerprint(tmp_path):
    CALLS.clear()
    for scores in (np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3))):
        Memory(tmp_path).remember(first, 1, other=make_table(scores))
    assert len(CALLS) == 2
