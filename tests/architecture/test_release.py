"""What a release says of itself agrees everywhere."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from importlib.metadata import version

import pytest
from source_tree import ROOT, modules

from cim_hal.extras import how_to_install


def _project(path: str) -> dict:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]


PROJECT, CLIENT = _project("pyproject.toml"), _project("cim_hal/pyproject.toml")


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


def test_the_newest_version_is_in_the_changelog_below_what_comes_next():
    pages = (ROOT / "docs/changelog.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^## (.+)$", pages, re.MULTILINE)[:2]
    assert first == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} - \d{{4}}-\d\d-\d\d", second)


def test_the_extra_of_the_docs_has_each_package_whose_bridge_they_document():
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    named = {*re.findall(r"cim_hal\.interop\.(\w+)", page)}
    assert named
    has = re.findall(r"cim-hal\[(.+)\]", PROJECT["optional-dependencies"]["docs"][0])
    assert named <= {*has[0].split(",")}


def test_the_build_of_the_client_is_a_part_of_the_full_one():
    assert CLIENT["version"] == f"{PROJECT['version']}+client"
    assert CLIENT["name"] == PROJECT["name"]
    assert CLIENT["requires-python"] == PROJECT["requires-python"]
    needless = {"numba", "threadpoolctl", "scikit-learn", "matplotlib"}
    named = {re.match(r"[\w-]+", line)[0]: line for line in PROJECT["dependencies"]}
    assert CLIENT["dependencies"] == [named[name] for name in named if name not in needless]
    extras = PROJECT["optional-dependencies"] | {"plot": [named["matplotlib"]]}
    assert CLIENT["optional-dependencies"].items() <= extras.items()
    for group in ("cim_hal.bridges", "pytest11"):
        assert CLIENT["entry-points"][group] == PROJECT["entry-points"][group]


EXTRAS = "optuna prometheus_client onnx pyarrow pooch ortools dimod networkx kaiwu matplotlib"


@pytest.mark.parametrize("module", EXTRAS.split())
def test_a_hint_names_a_package_with_the_versions_that_are_asked_for(module):
    assert re.fullmatch(r"pip install '[\w-]+>=[\d.]+'", how_to_install(module))


def test_only_one_place_says_how_a_package_is_installed():
    sources = (m.path for m in modules().values())
    found = {path.name for path in sources if "pip install" in path.read_text("utf-8")}
    assert found == {"extras.py", "key_files.py"}  # the latter: the same package, built otherwise
