"""Names of new drivers; that the package works is for an integration test."""

from __future__ import annotations

import pytest

from cim_hal.cli.app import program
from cim_hal.console import run


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Bench 7", "no name for a driver"),
        ("../up", "no name for a driver"),
        ("class", "no name for a driver"),
        ("-x", "No such option"),
        ("json", "a module json already"),
    ],
)
def test_names_that_make_no_package_are_refused(tmp_path, capsys, name, says):
    assert run(program, ["new-driver", "--into", str(tmp_path), name]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    arguments = ["new-driver", "bench-7", "--into", str(tmp_path)]
    assert run(program, arguments) == 0
    (tmp_path / "bench-7" / "README.md").write_text("mine")
    assert run(program, arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "bench-7" / "README.md").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(program, ["new-driver", "bench-7", "--into", str(tmp_path / "file" / "x")]) != 0
    assert "error: " in capsys.readouterr().err
