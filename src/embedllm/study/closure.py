"""The code that a function really uses, followed from name to name through this package without importing it.

Every name that a top-level statement reads leads to the statement that defines it: a function, a constant, an import,
a class with its bases and all its methods. A module that is passed around, read with ``getattr`` or imported with a
star counts whole. So does what a text names: code by its dotted path, a data file of the package by its name. What
counts is the syntax tree: comments, docstrings and layout do not. A local variable with the name of a definition
counts as a use of it, which is safe and rare. Not seen: what other modules put into a registry while they load.
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from embedllm.files import digest

PACKAGE = __name__.split(".")[0]
HOME = Path(sys.modules[PACKAGE].__path__[0])
DOTTED = re.compile(rf"{PACKAGE}(\.\w+)+(:\w+)?|{PACKAGE}\.([\w.]+\.)?")  # the second: a name is added to a package
WHOLE, LOADED = ("*",), ()  # chains that stand for all definitions of a module, and for what loading it does
BEGAN = time.time_ns()  # what this process computes comes from files as they were before


class CodeError(RuntimeError):
    """Code that cannot be followed; the message names file and line."""


class Code(NamedTuple):
    """A digest of all that is used, and whether a file of it has changed since this process began."""

    digest: str
    changed: bool


class Import(NamedTuple):
    """What a name stands for: a module, or a name in one."""

    module: str
    name: str | None

    def chain(self, rest: tuple[str, ...]) -> tuple[str, ...]:
        """The names to follow in the module, given those that were read of the imported thing."""
        return (self.name, *rest) if self.name else rest or WHOLE


Place = tuple[str, tuple[str, ...]]  # a module, and a chain of names to follow from it


@dataclass
class Module:
    """A file, its top-level statements by what they do."""

    name: str
    time: int
    definitions: dict[str, list[Statement]] = field(default_factory=dict)
    imports: dict[str, list[Import]] = field(default_factory=dict)
    always: list[Statement] = field(default_factory=list)  # done when the module is loaded, whatever is used of it


@dataclass(eq=False)
class Statement:
    """A top-level statement; what it says is looked at when it is used for the first time."""

    module: Module
    node: ast.stmt

    @cached_property
    def label(self) -> str:
        """What counts of it."""
        return f"{self.module.name} {digest(ast.dump(self.node))}"

    @cached_property
    def texts(self) -> set[str]:
        return {node.value for node in ast.walk(self.node)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)}

    @cached_property
    def leads(self) -> set[Place]:
        """Where it leads to: by the names it reads, by its imports, by the paths it holds as text."""
        module, imports = self.module, _imports(ast.walk(self.node))
        found = {place for text in self.texts for place in named(text)}
        found |= {(one.module, LOADED) for several in imports.values() for one in several}
        for chain in _reads(self.node):
            found |= {(one.module, one.chain(chain[1:])) for one in imports.get(chain[0], ())}
            if chain[0] in module.definitions or chain[0] in module.imports:
                found.add((module.name, chain))
            elif chain[0] in ("globals", "eval", "exec"):
                found.add((module.name, WHOLE))
        return found


def code(roots: Iterable[tuple[str, str]]) -> Code:
    """All code that some definitions use.

    Parameters
    ----------
    roots : iterable of (str, str)
        Module and name. A name that the module does not define stands for the whole module, as for a lambda.

    Raises
    ------
    CodeError
        For a relative import in a module that is used, or a definition that stands in no file.
    """
    waiting: list[Place] = [(module, tuple(name.split("."))) for module, name in roots]
    home = {module for module, _ in waiting}  # tests remember functions of their own
    for module, chain in waiting:
        if _path(module, home) is None:
            raise CodeError(f"{'.'.join(chain)} of {module} stands in no file that can be read: move it into a module")
    modules: dict[str, Module | None] = {}

    def load(name: str) -> Module | None:
        if name not in modules:
            path = _path(name, home)
            status = path and path.stat()
            modules[name] = path and _parsed(name, path, status.st_mtime_ns, status.st_size)
            if path:
                waiting.extend([(name, LOADED), (name.rpartition(".")[0], LOADED)])
        return modules[name]

    seen, counted, files = set(), set(), set()
    while waiting:
        place = name, chain = waiting.pop()
        if place in seen or not (module := load(name)):
            continue
        seen.add(place)
        statements = []
        if chain == LOADED:
            statements = module.always
            waiting += [(one.module, WHOLE if bound == "*" else LOADED)
                        for bound, several in module.imports.items() for one in several]
        elif chain == WHOLE:
            statements = [one for several in module.definitions.values() for one in several]
            waiting += [(one.module, one.chain(())) for bound, several in module.imports.items()
                        if bound != "*" and "." not in bound for one in several]
        elif chain[0] in module.definitions or chain[0] in module.imports:
            statements = module.definitions.get(chain[0], [])
            for one in module.imports.get(chain[0], []):
                counted.add(f"{name}.{chain[0]} is {one.module} {one.name}")
                waiting.append((one.module, one.chain(chain[1:])))
        elif load(f"{name}.{chain[0]}"):
            waiting.append((f"{name}.{chain[0]}", chain[1:] or WHOLE))
        else:
            waiting.append((name, WHOLE))
        for statement in statements:
            counted.add(statement.label)
            waiting += statement.leads
            files.update(file for text in statement.texts for file in _data_files().get(text, ()))
    counted |= {f"{file.relative_to(HOME)} {digest(file.read_bytes())}" for file in files}
    times = [module.time for module in modules.values() if module] + [file.stat().st_mtime_ns for file in files]
    return Code(digest("", *sorted(counted)), max(times, default=0) > BEGAN)


def _reads(statement: ast.stmt) -> set[tuple[str, ...]]:
    """The names in a statement with the attributes read of them: ("experiments", "train")."""
    found, waiting = set(), [statement]
    while waiting:
        node, attributes = waiting.pop(), []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            found.add((node.id, *attributes))
        elif isinstance(node, ast.Global):
            found.update((name,) for name in node.names)
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def named(text: str) -> Iterable[Place]:
    """Module and chain that a text names by its dotted path; every module of a package for ``"package."``."""
    if not DOTTED.fullmatch(text):
        return
    if text.endswith("."):
        folder = HOME.joinpath(*text.split(".")[1:])
        for path in folder.rglob("*.py"):
            yield ".".join((PACKAGE, *path.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__"), WHOLE
        return
    chain = tuple(text.replace(":", ".").split(".")[1:])
    if _path(f"{PACKAGE}.{chain[0]}", set()):
        yield PACKAGE, chain


def _path(name: str, home: set[str]) -> Path | None:
    """The file of a module of this package, or of one that is known to be a root; None for any other."""
    if name.split(".")[0] == PACKAGE:
        path = HOME.joinpath(*name.split(".")[1:])
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
    file = getattr(sys.modules.get(name), "__file__", None) if name in home else None
    return Path(file) if file else None


@cache
def _parsed(name: str, path: Path, changed: int, size: int) -> Module:
    """A module by its statements; time and size say whether the file is still the one that was read."""
    tree = ast.parse(path.read_bytes(), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise CodeError(f"{path}, line {node.lineno}: a relative import, which remembered results cannot follow; "
                            f"write `from {PACKAGE}.... import ...`")
        if isinstance(getattr(node, "body", None), list):  # docstrings
            node.body = [one for one in node.body if not (
                isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str))]
    module = Module(name, changed)
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound = []
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and all(map(_plain, targets)):
            targets = [*targets, *(one.target for one in ast.walk(node) if isinstance(one, ast.NamedExpr))]
            bound = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            bound = []
        else:
            bound = [None]
        for one in bound:
            statements = module.always if one is None else module.definitions.setdefault(one, [])
            statements.append(Statement(module, node))
    outside = [node for one in tree.body if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
               for node in ast.walk(one)]
    module.imports = _imports(outside)
    return module


def _plain(target: ast.expr) -> bool:
    """Whether an assignment binds names only, and changes no object."""
    return all(isinstance(one, ast.Name | ast.Tuple | ast.List | ast.Starred | ast.expr_context)
               for one in ast.walk(target))


def _imports(nodes: Iterable[ast.AST]) -> dict[str, list[Import]]:
    """The names that import statements bind; a star binds ``*``, and a dotted module is loaded besides."""
    found: dict[str, list[Import]] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, []).append(Import(node.module, alias.name))
                found.setdefault(f"{node.module}.{alias.name}", []).append(Import(f"{node.module}.{alias.name}", None))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found.setdefault(alias.asname or top, []).append(Import(alias.name if alias.asname else top, None))
                found.setdefault(alias.name, []).append(Import(alias.name, None))
    return found


@cache
def _data_files() -> dict[str, list[Path]]:
    """The data files of this package by every text that names one: the end of its path, or of its folder's."""
    names: dict[str, list[Path]] = {}
    for file in sorted(HOME.rglob("*")):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            parts = file.relative_to(HOME).parts
            for last in range(1, len(parts) + 1):
                for first in range(last):
                    names.setdefault("/".join(parts[first:last]), []).append(file)
    return names
