"""From a module's name one finds its tests, and from a test file's name its module."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from source_tree import ROOT, Module, modules

TESTS = ROOT / "tests"
# Beside tests/unit/<package>/<folders> and the folders above it.
FOR_ALL = tuple(
    TESTS / name for name in ("physics", "training", "property", "integration", "conformance")
)

# Modules without a test file of their name: the file that exercises them, and why there is none.
EXERCISED_BY = {
    "qnn_train.estimator.parameters": "unit/qnn_train/test_checks.py",
    "cim_hal.extras": "architecture/test_release.py",
    # Commands, which are called in process by the tests of what they do.
    "cim_hal.cli.defaults": "unit/cim_hal/test_user_config.py",
    "cim_hal.cli.conform": "conformance/test_conformance.py",
    "cim_hal.cli.journal": "unit/cim_hal/server/storage/test_repair.py",
    "cim_hal.cli.jobs": "integration/test_cli_jobs.py",
    "cim_hal.cli.key_commands": "integration/test_security.py",
    "cim_hal.cli.machines": "integration/test_cli.py",
    "cim_hal.cli.compare": "integration/test_devices.py",
    "cim_hal.cli.precision": "unit/cim_hal/study/test_precision.py",
    "cim_hal.cli.sweep_report": "integration/test_sweep.py",
    "cim_hal.study.run": "integration/test_sweep.py",
    "cim_hal.study.tasks": "integration/test_study_task.py",
    # The checks of the conformance suite, each tried on a machine that breaks its promise.
    "cim_hal.conformance.promises": "conformance/test_conformance.py",
    "cim_hal.conformance.sampling": "conformance/test_conformance.py",
    # Values without behaviour, tested where they are made and used.
    "cim_hal.client.steps": "unit/cim_hal/client/test_requests.py",
    "cim_hal.protocol.effects": "unit/cim_hal/server/test_executor.py",
    "emulator.dynamics.shared_options": "unit/emulator/test_options.py",
    # Each law of an imperfection is tested through the machine that has it.
    "emulator.disorder": "physics/test_imperfections.py",
    "emulator.dynamics.imperfect_loop": "physics/test_imperfections.py",
}


def _named_after(stem: str, name: str) -> bool:
    return stem == f"test_{name}" or stem.startswith(f"test_{name}_")


@cache
def _folders(name: str) -> frozenset[Path]:
    """Return where the tests of a module may be."""
    *above, package, _ = modules()[name].path.relative_to(ROOT).parents
    unit = TESTS / "unit"
    return frozenset((unit / package, *(unit / folder for folder in above), *FOR_ALL))


@cache
def _test_files() -> tuple[Path, ...]:
    return tuple(sorted(TESTS.rglob("test_*.py")))


@cache
def _owners(test: Path) -> frozenset[str]:
    """Return the modules a test file is named after: of several names the longest counts."""
    found = {
        name: module.path.stem if module.path.stem != "__init__" else module.path.parent.name
        for name, module in modules().items()
        if test.parent in _folders(name)
    }
    fitting = {name: stem for name, stem in found.items() if _named_after(test.stem, stem)}
    longest = max(map(len, fitting.values()), default=0)
    return frozenset(name for name, stem in fitting.items() if len(stem) == longest)


@cache
def _tested() -> frozenset[str]:
    return frozenset().union(*map(_owners, _test_files()))


def _needs_tests(module: Module) -> bool:
    """Return whether a module has functions or classes, and is not what runs or re-exports."""
    return module.path.stem not in {"__init__", "__main__"} and bool(_defined(module))


def test_every_module_has_a_test_file_of_its_name_or_a_row_in_the_table():
    others = modules().keys() - _tested() - EXERCISED_BY.keys()
    assert [name for name in sorted(others) if _needs_tests(modules()[name])] == []


def test_the_table_is_short_and_has_no_row_that_is_not_needed():
    assert len(EXERCISED_BY) <= 20
    assert sorted(EXERCISED_BY.keys() & _tested()) == []


@pytest.mark.parametrize("name", EXERCISED_BY)
def test_the_file_of_a_row_imports_the_module_or_names_what_it_defines(name):
    module, test = modules()[name], TESTS / EXERCISED_BY[name]
    text = test.read_text(encoding="utf-8").replace("-", "_")
    assert name in text or any(re.search(rf"\b{each}\b", text) for each in _defined(module))


def _defined(module: Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in module.tree.body if isinstance(node, kinds)}


def test_every_folder_of_tests_is_run_by_pytest_or_by_the_check():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    by_pytest = set(options["pytest"]["ini_options"]["testpaths"])
    folders = {"/".join(test.relative_to(ROOT).parts[:2]) for test in _test_files()}
    assert folders - by_pytest == {"tests/architecture"}
    check = (ROOT / ".ci/check").read_text(encoding="utf-8")
    assert "pytest -q tests/architecture" in check


def test_every_unit_test_file_is_named_after_a_module_or_package():
    unit = [test for test in _test_files() if (TESTS / "unit") in test.parents]
    orphans = [test.relative_to(TESTS).as_posix() for test in unit if not _owners(test)]
    assert orphans == []
