from __future__ import annotations

import click
import pytest

from cim_hal import TargetError
from cim_hal.cli.common import print_properties, readable, refused, whole_file


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        ((0.0, 2.5), "0, 2.5"),
        (1e-7, "1e-07"),
        (3, "3"),
        ("word", "word"),
    ],
)
def test_values_are_shown_as_a_person_reads_them(value, text):
    assert readable(value) == text


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "none" / "x"
    with pytest.raises(click.FileError, match="No such file") as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)


def test_what_is_refused_names_its_option():
    with pytest.raises(click.BadParameter, match="no such file") as caught, refused("--settings"):
        raise TargetError("no such file")
    assert caught.value.param_hint == "--settings"


def test_empty_rows_are_left_out(capsys):
    print_properties("found", {"flips": "1", "width": "", "[red]": "[b]"})
    shown = capsys.readouterr().out
    assert "flips" in shown
    assert "width" not in shown
    assert "[red]" in shown
