"""The surface of the packages: what is exported exists, and every error is in the manual."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from cim_hal import CimError

ROOT = Path(__file__).parents[2]


def descendants(cls: type[CimError]) -> set[type[CimError]]:
    return {cls}.union(*(descendants(child) for child in cls.__subclasses__()))


@pytest.fixture(scope="module")
def errors() -> set[type[CimError]]:
    for package in ("cim_hal.errors", "qnn_train.errors"):
        importlib.import_module(package)
    shipped = ("cim_hal.errors", "qnn_train.errors")  # others never leave their module
    return {cls for cls in descendants(CimError) if cls.__module__ in shipped}


@pytest.mark.parametrize("package", ["cim_hal", "emulator", "qnn_train"])
def test_exported_names_exist_and_are_sorted(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__doc__


def test_error_codes_are_unique(errors):
    codes = [cls.code for cls in errors]
    assert len(codes) == len(set(codes))


def test_every_error_that_is_raised_is_in_the_manual(errors):
    page = (ROOT / "docs/reference/errors.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z_.]+)` \| `(\w+)`", page, flags=re.MULTILINE))
    abstract = {cls for cls in errors if errors & {*cls.__subclasses__()}}
    abstract -= {cls for cls in errors if cls.__name__ == "ModelError"}
    assert documented == {cls.code: cls.__name__ for cls in errors - abstract}


def test_the_tree_in_the_docstring_shows_every_class(errors):
    tree = importlib.import_module("cim_hal.errors").__doc__ or ""
    for cls in errors:
        if cls.__module__ == "cim_hal.errors":
            assert re.search(rf"\b{cls.__name__}\b", tree)


def test_errors_survive_pickling(errors):
    import pickle

    error = importlib.import_module("cim_hal").CapabilityError("max_spins", required=3, available=2)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.details) == (str(error), error.details)
