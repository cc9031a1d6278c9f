"""Which commands need a server, and which take a machine of this process too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from counted_driver import count_drivers

from cim_hal import console
from cim_hal.cli.app import COMMANDS, program

if TYPE_CHECKING:
    from cim_machines import Annealer

# What clients share is on a server; a machine of this process alone would be nobody's else.
SERVER = {
    "check": ("cassette", "TARGET"),
    "couplings": ("TARGET", "list"),
    "estop": ("TARGET", "--reason", "smoke"),
    "jobs": ("TARGET", "list"),
    "lock": ("TARGET", "--for", "1m"),
    "monitor": ("TARGET", "--once"),
    "record": ("TARGET", "cassette"),
    "reset": ("TARGET",),
    "status": ("TARGET", "--json"),
    "unlock": ("TARGET", "--force"),
}
EITHER = {
    "calibrate": ("TARGET",),
    "conform": ("TARGET",),
    "describe": ("TARGET",),
    "sample": ("TARGET", "--model", "model.txt"),
    "tune": ("TARGET", "--model", "model.txt", "--seconds", "1", "--out", "tuned.toml"),
}
# These open no machine, are what serves it, have it in a file, or take several.
NEITHER = {
    "chaos",
    "compare",
    "config",
    "convert",
    "journal",
    "keys",
    "list",
    "new-driver",
    "precision",
    "replay",
    "serve",
    "sweep",
}


@pytest.fixture
def made(monkeypatch, tmp_path) -> list[Annealer]:
    """The drivers that ``counted:make`` has made; beside it a cassette and a model."""
    monkeypatch.chdir(tmp_path)
    for name in ("cassette", "model.txt"):
        (tmp_path / name).touch()
    return count_drivers(monkeypatch)


def _run(name: str, arguments: tuple[str, ...], target: str, *more: str) -> int:
    given = [target if each == "TARGET" else each for each in arguments]
    return console.run(program, [name, *given, *more])


def test_every_command_stands_in_the_table():
    assert set(COMMANDS) - {*SERVER, *EITHER, *NEITHER} == set()


@pytest.mark.parametrize("target", ["emulator", "counted:make", "nonsense", "lab:5555", "TCP://x"])
@pytest.mark.parametrize("name", SERVER)
def test_a_command_about_what_is_shared_takes_nothing_but_a_server(name, target, made, capsys):
    assert _run(name, SERVER[name], target) == 2
    assert made == []
    if name not in {"check", "record"}:
        sentence = f"{name} needs a server: tcp://host:port or ipc://path, not '{target}'"
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--key", "--server-key"])
@pytest.mark.parametrize("name", EITHER)
def test_a_machine_of_this_process_takes_no_keys(name, option, made, capsys):
    assert _run(name, EITHER[name], "counted:make", option, "some.key") == 2
    assert made == []
    assert f"{option} is for a server, and 'counted:make' is none" in capsys.readouterr().err


def test_keys_in_the_environment_are_for_servers_only(made, monkeypatch, capsys):
    monkeypatch.setenv("CIM_HAL_KEY", "nosuch.key")
    assert _run("describe", EITHER["describe"], "counted:make", "--json") == 0
    assert len(made) == 1
    assert '"name": "annealer"' in capsys.readouterr().out
