"""Names that a package imports when they are first used."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from cim_hal.late_imports import imported

NAMES = ("loads", "gcd")


@pytest.fixture
def package(monkeypatch) -> ModuleType:
    """A package whose second module must not be imported for a name of the first."""
    modules = {"late": [], "late.one": ["gcd"], "late.two": ["gcd", "loads"]}
    for name, exported in modules.items():
        module = ModuleType(name)
        module.__dict__.update(dict.fromkeys(exported, name), __all__=exported, __path__=[])
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["late"]


def test_the_first_module_that_exports_a_name_is_asked_and_the_package_keeps_it(package):
    assert imported("late", "gcd", NAMES, ("one", "missing")) == "late.one"
    assert imported("late", "loads", NAMES, ("one", "two")) == "late.two"
    assert (package.gcd, package.loads) == ("late.one", "late.two")


def test_no_module_is_imported_for_a_name_that_is_not_exported(package):
    with pytest.raises(AttributeError, match="module 'late' has no attribute 'sqrt'"):
        imported("late", "sqrt", NAMES, ("missing",))
