from __future__ import annotations

import sys
import unicodedata
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cim_hal.protocol.wire.base import Line
from cim_hal.text import html_table, printable

HOSTILE = "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"


def test_no_character_of_unicode_that_is_no_letter_mark_sign_or_space_gets_through():
    every = map(chr, range(sys.maxunicode + 1))
    left = [
        char for char in every if unicodedata.category(char) in HOSTILE and char == printable(char)
    ]
    assert left == []


@given(st.text())
def test_a_text_is_printable_and_stays_so(text):
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["", "a b", "ünïcode 日本語", "e\u0301", "2 µm ≤ λ", "\\n", "🙂"])
def test_what_can_be_seen_stays_as_it_is(text):
    assert printable(text) == text
    assert TypeAdapter(Line).validate_python(text) == text


@pytest.mark.parametrize(
    "char",
    ["\x1b", "\r", "\n", "\x07", "\x00", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff"],
)
def test_a_one_line_text_of_the_wire_has_none_of_them(char):
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python(f"a{char}b")
    assert char not in printable(f"a{char}b")


def test_whatever_is_shown_in_a_table_is_text():
    found = html_table("a < b", ["x & y"], [["<script>alert(1)</script>", 2], ['"', None]])
    table = ET.fromstring(found)
    assert [cell.text for cell in table.iter("td")] == [
        "<script>alert(1)</script>",
        "2",
        '"',
        "None",
    ]
    assert table.findtext("caption") == "a < b"
    assert [cell.text for cell in table.iter("th")] == ["x & y"]
