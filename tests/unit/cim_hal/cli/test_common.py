from __future__ import annotations

import click
import pytest

from cim_hal.cli.common import check_folder, print_properties, read_toml, readable, whole_file


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


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.bin"
    with whole_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "none" / "x"
    with pytest.raises(click.FileError, match="No such file") as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)
    with pytest.raises(click.BadParameter, match="not a folder"):
        check_folder("--out", tmp_path / "none" / "x")
    check_folder("--out", tmp_path / "x")
    check_folder("--out", None)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"a = ", "is not TOML"), (b"\xff", "is not TOML"), (None, "cannot read")],
)
def test_what_is_no_toml_is_refused_with_the_option(tmp_path, content, sentence):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(click.BadParameter, match=sentence) as caught:
        read_toml(path, "--settings")
    assert caught.value.param_hint == "--settings"


def test_toml_is_read_and_empty_rows_are_left_out(tmp_path, capsys):
    path = tmp_path / "settings.toml"
    path.write_text("[settings]\nflips = 1\n")
    assert read_toml(path) == {"settings": {"flips": 1}}
    print_properties("found", {"flips": "1", "width": "", "[red]": "[b]"})
    shown = capsys.readouterr().out
    assert "flips" in shown
    assert "width" not in shown
    assert "[red]" in shown
