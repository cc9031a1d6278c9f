"""One language: retired names and words are used nowhere."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import chain, pairwise

import pytest
from source_tree import ROOT, Module, modules, other_modules, words_of

from cim_hal.text import counted

RETIRED = ROOT / "docs/development/retired.md"
CHANGELOG = ROOT / "docs/changelog.md"  # says what was renamed


@cache
def retired(title: str) -> dict[str, str]:
    """Return the rows of one table: what is retired, and what is said instead."""
    text = RETIRED.read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"{RETIRED.name} has no section {title!r}"
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|$", section[1], re.MULTILINE)
    return {name: instead for names, instead in rows for name in re.findall(r"`([^`]+)`", names)}


def complaints(text: str, words: dict[str, str]) -> list[str]:
    """Return the retired words that a text contains, each with its replacement."""
    found = set(re.findall(r"[a-z]+", text.lower())) & set(words)
    return [f"{word!r}, say {words[word]}" for word in sorted(found)]


@pytest.mark.parametrize("title", ["Retired names", "Retired words"])
def test_the_page_lists_what_is_retired(title):
    assert len(retired(title)) > 20


def everything() -> dict[str, Module]:
    """Return the modules of the packages, and the files of benchmarks, docs and tests."""
    return {**modules(), **other_modules()}


def test_no_retired_name_is_used():
    names = retired("Retired names")
    for module, source in everything().items():
        used = source.identifiers() | {source.path.stem}
        assert not {f"{name}, use {names[name]}" for name in used & set(names)}, module


def test_no_retired_word_is_in_identifiers_or_docstrings():
    words = retired("Retired words")
    for module, source in everything().items():
        identifiers = {word for name in source.identifiers() for word in words_of(name)}
        text = " ".join([*identifiers, *words_of(source.path.stem), *source.docstrings()])
        assert complaints(text, words) == [], module


def test_no_retired_word_is_in_the_docs():
    words = retired("Retired words")
    folders = (ROOT / "benchmarks", ROOT / "docs")
    for page in chain(ROOT.glob("*.md"), *(folder.rglob("*.md") for folder in folders)):
        if "_build" not in page.parts and page not in (RETIRED, CHANGELOG):
            assert complaints(page.read_text(encoding="utf-8"), words) == [], page


# Texts, and a noun behind them: no number that could be 1.
TEXTS = {("bits", "couplings"), ("sizes", "spins"), ("lost", "points"), ("about['cells']", "cells")}


def test_a_number_and_its_noun_agree():
    calls = (node for source in modules().values() for node in ast.walk(source.tree))
    plurals = {
        counted(2, call.args[1].value)[2:]
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "counted"
        if isinstance(call.args[1], ast.Constant)
    }
    assert {"runs", "entries", "classes", "auxiliary spins"} <= plurals
    for name, source in modules().items():
        found = set(_bare_plurals(source.tree, plurals))
        assert found <= TEXTS, f"{name}: use cim_hal.text.counted"


def _bare_plurals(tree, plurals):
    """Yield each number of a text and the plural that follows it, whatever the number is."""
    texts = (node.values for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    for number, text in chain.from_iterable(map(pairwise, texts)):
        if not (isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant)):
            continue
        said = ast.unparse(number.value)
        is_fixed = said.rsplit(".")[-1].isupper() or ".join(" in said
        is_real = number.format_spec is not None and ast.unparse(number.format_spec)[-2] in "efg"
        noun = re.match(r" ((?:[a-z]+ )?[a-z]+)", str(text.value))
        if noun and not (is_fixed or is_real):
            for plural in plurals & {noun[1], noun[1].split(" ")[0]}:
                yield said, plural
