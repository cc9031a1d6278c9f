"""The source read as text: modules, imports, functions, identifiers, docstrings."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PACKAGES = ("cim_hal", "emulator", "qnn_train")


@dataclass(frozen=True)
class Module:
    """One file of the packages."""

    name: str
    path: Path
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree: of all modules it takes seconds, and many questions need none."""
        return ast.parse(self.text)

    @property
    def n_lines(self) -> int:
        """Lines of the file, blank ones and docstrings included."""
        return self.text.count("\n")

    def body_lines(self) -> Iterator[tuple[int, str]]:
        """Yield the length of each function without its docstring, and its name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body:
                    n_lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                    yield n_lines, f"{self.name}.{node.name}"

    def docstrings(self) -> Iterator[str]:
        """Yield all docstrings of the module, its classes and functions."""
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        for node in ast.walk(self.tree):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield text

    def identifiers(self) -> set[str]:
        """Return every name that the module uses or defines."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                    names.add(name)
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    names.add(name)
                case ast.AsyncFunctionDef(name=name) | ast.keyword(arg=str(name)):
                    names.add(name)
                case ast.alias(name=name, asname=other):
                    names.update(name.split("."), [other] if other else [])
                case _:
                    pass
        return names


@cache
def modules() -> Mapping[str, Module]:
    """Return the modules of the packages by their dotted names."""
    found = {}
    for path in chain.from_iterable((ROOT / package).rglob("*.py") for package in PACKAGES):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, text)
    return found


@cache
def other_modules() -> Mapping[str, Module]:
    """Return the Python files outside the packages by their paths: benchmarks, docs and tests."""
    folders = ("benchmarks", "docs", "tests")
    paths = [ROOT / "conftest.py", *chain.from_iterable((ROOT / f).rglob("*.py") for f in folders)]
    found = {}
    for path in paths:
        if not {"_build", "node_modules"} & set(path.parts):
            name = str(path.relative_to(ROOT))
            found[name] = Module(name, path, path.read_text(encoding="utf-8"))
    return found


@cache
def imports(*, with_types: bool) -> Mapping[str, frozenset[str]]:
    """Return what each module imports of the packages, anywhere in its text.

    Parameters
    ----------
    with_types : bool
        Whether imports below ``if TYPE_CHECKING`` count.
    """
    return {name: frozenset(_imports_of(module, with_types)) for name, module in modules().items()}


def _imports_of(module: Module, with_types: bool) -> Iterator[str]:
    for node in _nodes(module.tree, with_types):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        for target in targets:
            known = _known(target)
            if known and known != module.name:
                yield known


def _nodes(tree: ast.AST, with_types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        is_types = (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        )
        if with_types or not is_types:
            yield child
            yield from _nodes(child, with_types)


def _known(dotted: str) -> str:
    while dotted and dotted not in modules():
        dotted = dotted.rpartition(".")[0]
    return dotted


def words_of(identifier: str) -> list[str]:
    """Split an identifier in camel or snake case into lower-case words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+", " ", identifier)
    return spaced.lower().split()
