"""Tables for notebooks: text stays text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from cim_hal.model.html import html_table


def test_whatever_is_shown_is_text():
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
