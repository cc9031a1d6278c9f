from __future__ import annotations

import click
import pytest

from cim_hal import CapabilityError, ModelError, TargetError
from cim_hal.console import LazyGroup, run
from cim_hal.errors import ConnectError


def _raising(error: BaseException) -> click.Command:
    @click.command("tool")
    @click.option("--size", type=int)
    def tool(size: int | None) -> None:
        raise error

    return tool


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelError("J is not square", hint="pass (n, n)"), 2),
        (TargetError("no such device"), 2),
        (CapabilityError("max_spins", required=2, available=1), 2),
        (ConnectError("nobody answers"), 1),
        (click.BadParameter("not a folder"), 2),
        (click.FileError("x.npz", "disk full"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(error, status, capsys):
    assert run(_raising(error), []) == status
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


def test_an_error_with_line_breaks_is_still_one_line(capsys):
    run(_raising(ConnectError("first\nsecond")), [])
    assert capsys.readouterr().err == "error: first second\n"


def test_wrong_usage_names_the_help(capsys):
    assert run(_raising(ValueError()), ["--size", "big"]) == 2
    assert "see tool --help" in capsys.readouterr().err


def test_help_and_success_are_zero(capsys):
    assert run(_raising(ValueError()), ["--help"]) == 0
    assert "Usage: tool" in capsys.readouterr().out


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(_raising(ZeroDivisionError()), [])


def _group() -> LazyGroup:
    places = {
        "dump": ("test_console_commands:dump", "Print everything."),
        "gone": ("nowhere:x", "G."),
    }
    group = LazyGroup("tool", lazy_commands=places)
    group.add_command(click.Command("eager", help="Begin at once. Never wait."))
    return group


def test_a_group_lists_its_commands_without_importing_them(capsys):
    assert run(_group(), ["--help"]) == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines() if line]
    assert lines[-3:] == [
        ["dump", "Print everything."],
        ["eager", "Begin at once."],
        ["gone", "G."],
    ]


def test_a_group_imports_the_command_it_runs(tmp_path, monkeypatch, capsys):
    source = "import click\n@click.command()\ndef dump():\n    click.echo('all')\n"
    (tmp_path / "test_console_commands.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert run(_group(), ["dump"]) == 0
    assert capsys.readouterr().out == "all\n"
    assert run(_group(), ["fly"]) == 2
    assert "No such command 'fly'" in capsys.readouterr().err
