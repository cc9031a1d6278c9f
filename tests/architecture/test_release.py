"""What a release says of itself agrees everywhere."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import version

import pytest
from source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("package", ["cim_hal", "emulator", "qnn_train"])
def test_packages_know_the_version_of_the_distribution(package):
    assert import_module(package).__version__ == version("cim-hal") == PROJECT["version"]
    with pytest.raises(AttributeError):
        import_module(package).__no_such_name__  # noqa: B018


def test_the_citation_names_the_same_version_and_licence():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line and line[0].isalpha())
    assert (facts["version"], facts["license"]) == (PROJECT["version"], PROJECT["license"])


FILES = (
    *("CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE"),
    *("README.md", "SECURITY.md"),
)


@pytest.mark.parametrize("name", FILES)
def test_files_that_people_look_for_are_there(name):
    assert (ROOT / name).read_text(encoding="utf-8").strip()
