"""The list of commands and the commands themselves say the same."""

from __future__ import annotations

import click
import pytest

from cim_hal.cli.app import COMMANDS, program


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_shows_the_first_sentence_of_the_help(name):
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(1000) == COMMANDS[name][1]


def test_commands_are_listed_in_order():
    assert program.list_commands(click.Context(program)) == sorted(COMMANDS)
