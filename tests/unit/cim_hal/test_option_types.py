from __future__ import annotations

from pathlib import Path

import click
import pytest

from cim_hal.option_types import (
    MODEL_FILE,
    Address,
    Endpoint,
    OutputFile,
    OutputFolder,
    Real,
    Target,
    real,
)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "x", "", "1,5", "0", "2.1"])
def test_a_number_that_is_not_finite_or_out_of_range_is_refused(text):
    with pytest.raises(click.BadParameter, match=r"0<x<=2|not a valid"):
        Real(0.0, 2.0, above=True).convert(text, None, None)
    with pytest.raises(click.BadParameter, match="is not"):
        real(text if text in {"x", "", "1,5"} else "nan", "a number")


def test_numbers_within_the_range_are_taken():
    assert Real(0.0, 2.0).convert("0", None, None) == 0.0
    assert real(" 1e3", "a number") == 1000.0


def test_a_file_that_can_be_written_is_tried_out_and_not_made(tmp_path):
    path = tmp_path / "x.npz"
    assert OutputFile(".npz").convert(str(path), None, None) == path
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    assert OutputFile(".npz").convert(str(path), None, None) == path
    assert path.read_bytes() == b"old"
    assert str(OutputFile(".npz", allow_dash=True).convert("-", None, None)) == "-"


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("none/x.npz", OutputFile(), "not a folder"),
        ("file/x.npz", OutputFile(), "not a folder"),
        ("x.txt", OutputFile(".npz"), "is not .npz"),
        ("x", OutputFile(".png", ".svg"), "is not .png or .svg"),
        ("folder", OutputFile(), "is a directory"),
        ("file", OutputFile(is_new=True), "exists already"),
        ("none", OutputFile(exists=True), "does not exist"),
        ("x" * 250, OutputFile(), "cannot write .*name too long"),
        ("file", OutputFolder(), "is a file"),
        ("file/x", OutputFolder(), "is not a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name, kind, says):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(click.BadParameter, match=says):
        kind.convert(str(tmp_path / name), None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("place", ["/proc/x", "/sys/x", "/dev/full", "/dev/null"])
def test_what_the_system_keeps_is_refused(place):
    with pytest.raises(click.BadParameter):
        OutputFile().convert(place, None, None)


def test_a_folder_may_be_made_later(tmp_path):
    deep = tmp_path / "a" / "b"
    assert OutputFolder().convert(str(deep), None, None) == deep
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(click.BadParameter, match="cannot write to"):
        OutputFolder().convert("/proc/a/b", None, None)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (Endpoint(), "tcp://127.0.0.1:0", "from 1 to 65535"),
        (Endpoint(), "tcp://127.0.0.1:99999", "from 1 to 65535"),
        (Endpoint(listening=True), "127.0.0.1:80", "tcp://host:port"),
        (Endpoint(), "tcp://no-such-host.invalid:80", "there is no host"),
        (Address(), "8080", "is not an address"),
        (Target(), "emulatr", "did you mean emulator?"),
        (Target(), "", "known: emulator"),
        (Target(), "tcp://lab", "is not an endpoint"),
        (Target(), "http://127.0.0.1:80", "is not an endpoint"),
        (Target(), "no-such.toml", "cannot read the file no-such.toml: No such file"),
        (Target(), "./no-such", "cannot read the file no-such: No such file"),
    ],
)
def test_addresses_and_targets_that_cannot_be_are_refused(kind, text, says):
    with pytest.raises(click.BadParameter, match=says.replace("?", r"\?")):
        kind.convert(text, None, None)


def test_targets_are_not_loaded():
    for text in ("emulator", "no_such_module:make", "tcp://127.0.0.1:1", "ipc:///none"):
        config = Target().convert(text, None, None)
        assert (config.driver, config.target) == (text, text)


def test_a_dash_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.BadParameter, match="not written to standard output"):
        OutputFile().convert("-", None, None)
    assert OutputFile().convert("./-", None, None) == tmp_path / "-"


def test_only_a_dash_alone_is_a_stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("1 0\n")
    for kind in (MODEL_FILE, OutputFile(allow_dash=True)):
        assert kind.convert("-", None, None) == Path("-")
        assert kind.convert("./-", None, None) == tmp_path / "-"
