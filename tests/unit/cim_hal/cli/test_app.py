"""The list of commands and the commands themselves say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from cim_hal.cli.app import COMMANDS, program
from cim_hal.console import run
from qnn_train.cli.app import program as trainer


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_shows_the_first_sentence_of_the_help(name):
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(1000) == COMMANDS[name][1]


def test_commands_are_listed_in_order():
    assert program.list_commands(click.Context(program)) == sorted(COMMANDS)


def _commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{words} {name}")


EVERY = dict([*_commands(program, "cim-hal"), *_commands(trainer, "qnn-train")])


@pytest.mark.parametrize("name", EVERY)
def test_every_help_has_examples_of_options_that_exist(name):
    examples = re.findall(rf"^ +({name} .*|{name})$", EVERY[name].help or "", re.MULTILINE)
    assert examples
    for line in examples:
        command = max((n for n in EVERY if f"{line} ".startswith(f"{n} ")), key=len)
        known = {o for p in EVERY[command].params for o in (*p.opts, *p.secondary_opts)}
        assert {*re.findall(r"(?<= )--[a-z-]+", line)} <= known


@pytest.mark.parametrize(
    ("group", "typed", "meant"),
    [(program, "sampel", "sample"), (trainer, "fitt", "fit"), (trainer, "evalute", "evaluate")],
)
def test_a_misspelled_command_is_told_the_nearest(group, typed, meant, capsys):
    assert run(group, [typed, "emulator"]) == 2
    said = capsys.readouterr().err
    assert f"No such command {typed!r}. Did you mean {meant!r}?" in said


def test_a_list_of_no_drivers_says_how_to_get_some(monkeypatch, capsys):
    monkeypatch.setattr("cim_hal.machine.registry.registered_drivers", list)
    assert run(program, ["list"]) == 0
    assert "cim-hal new-driver makes one" in capsys.readouterr().out
