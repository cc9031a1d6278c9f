"""The pages for maintainers name files that exist, and show pictures of today's code."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from source_tree import ROOT, modules

from cim_hal import registered_drivers

PAGES = sorted((ROOT / "docs/development").glob("*.md"))
PICTURES = runpy.run_path(str(ROOT / "docs/pictures.py"))


# What is called the paper's, arXiv:2506.18240, and where its abstract says so; all else is ours.
ANNOUNCED = {
    "qnn_train/solve/hedging.py": "version 4 announces Quantum Progressive Hedging",
    "qnn_train/solve/qcgd.py": "Quantum Conditional Gradient Descent solves the QCBO",
    "qnn_train/solve/all_images.py": "QCGD solves the QCBO directly on quantum hardware",
    "docs/explanation/solvers.md": "QCGD; sample-wise subproblems and QPH in version 4",
    "README.md": "points to the page that tells one from the other",
}


def test_only_what_the_abstract_announces_is_called_the_papers():
    pages = [ROOT / f"docs/explanation/{name}.md" for name in ("programs", "solvers", "training")]
    claims = re.compile(r"(is|that|those) (the paper's|of the paper)|the paper's (method|idea)")
    found = {
        str(path.relative_to(ROOT))
        for path in [ROOT / "README.md", *pages, *(ROOT / "qnn_train").rglob("*.py")]
        if claims.search(path.read_text(encoding="utf-8"))
    }
    assert found == set(ANNOUNCED)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    roots = "cim_hal|emulator|qnn_train|tests|docs|benchmarks"
    named = set(re.findall(rf"`((?:{roots})/[\w/.*-]+)`", text))
    named |= {
        f"tests/{path}"
        for path in re.findall(
            r"`((?:unit|integration|property|training|architecture|physics)/[\w/.-]*)`", text
        )
    }
    missing = {path for path in named if "<" not in path and not (ROOT / path).exists()}
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_name_that_a_page_places_in_a_module_is_defined_there(page):
    places = r"`([\w.]+)(?:\([^`]*\))?`(?: in | \()`((?:cim_hal|emulator|qnn_train)/[\w/]+\.py)`"
    missing = set()
    for name, path in re.findall(places, page.read_text(encoding="utf-8")):
        *classes, last = name.split(".")
        text = (ROOT / path).read_text(encoding="utf-8")
        kinds = [rf"class {each}\b" for each in classes]
        kinds.append(rf"(?:def|class) {last}\b|^{last}\b.* =")
        missing |= {name for kind in kinds if not re.search(kind, text, re.MULTILINE)}
    assert missing == set()


def test_the_pictures_are_of_this_code():
    assert PICTURES["stale"]() == [], "run python docs/pictures.py"


def test_every_step_of_a_picture_is_in_a_module():
    steps = [*PICTURES["JOB"], *PICTURES["TRAINING"]]
    assert {step.module for step in steps} <= set(modules())


def test_every_emulated_machine_has_a_row_in_the_page_that_compares_them():
    table = (ROOT / "docs/how-to/_which_table.txt").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)
    names = [driver.name for driver in registered_drivers()]
    assert sorted(rows) == sorted(name for name in names if name.startswith("emulator"))
    assert not re.search(r"\|\s*\|\s*[\d.]+ \| [\d.e+-]+ \|", table), "a purpose is missing"


def test_every_picture_is_shown():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    pictures = {path.name for path in (ROOT / "docs/_static").iterdir() if path.suffix != ".css"}
    assert {name for name in pictures if f"_static/{name}" not in text} == set()


def test_no_page_holds_a_merge_that_was_not_finished():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    marked = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
    assert {page.name for page in pages if marked.search(page.read_text(encoding="utf-8"))} == set()


def test_what_stands_behind_a_public_name_is_the_first_line_of_its_docstring():
    spec = spec_from_file_location("option_tables", ROOT / "docs/option_tables.py")
    tables = module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = tables.API_PAGE.read_text(encoding="utf-8")
    assert page == tables.api_page(), "run: python docs/option_tables.py"


def test_every_public_name_is_in_the_reference_by_task():
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([a-z_]+\.[\w.]+)(?:  .*)?$", page, re.MULTILINE))
    words = {name.rpartition(".")[2] for name in listed}
    for package in ("cim_hal", "emulator", "qnn_train"):
        assert set(import_module(package).__all__) <= words
    for name in listed:
        module, _, word = name.rpartition(".")
        assert getattr(import_module(module), word, None) is not None, name
