from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from qnn_train.cli.options import (
    RunOptions,
    add_options,
    class_numbers,
    data_options,
    network_options,
    option,
    output_options,
    samples,
    sizes,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (class_numbers, "all", "all"),
        (class_numbers, "4,5", (4, 5)),
        (class_numbers, "0, 1,2", (0, 1, 2)),
        (sizes, "8", 8),
        (sizes, "0", 0),
        (sizes, "8,4", (8, 4)),
        (samples, "all", "all"),
        (samples, "2", 2),
    ],
)
def test_numbers_are_read_as_one_writes_them(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (class_numbers, "four"),
        (class_numbers, "4,"),
        (sizes, "1001"),
        (sizes, "8,0"),
        (samples, "1"),
        (samples, "some"),
    ],
)
def test_other_words_are_bad_parameters(parse, text):
    with pytest.raises(click.BadParameter):
        parse(text)


@click.command()
@data_options
@network_options(hidden=0, activation="sign", weights="ternary", bias_bits=1, seed=0, runs=64)
@output_options("emulator")
@add_options(option("depth", int, "Of the well.", 3))
def command(**options):
    own, rest = RunOptions.split(options)
    devices = tuple(device.target for device in own.device)
    click.echo(f"{devices} {own.machines} {own.dry_run} {sorted(rest.items())}")


def test_options_that_are_not_given_are_left_to_the_recipe():
    assert _said() == "() 1 False []"


def test_options_that_are_given_are_split_from_those_of_the_run():
    said = _said(
        "--device", "a:b", "--device", "c:d", "--dry-run", "--hidden", "8,4", "--depth", "5"
    )
    assert said == "('a:b', 'c:d') 1 True [('depth', 5), ('hidden', (8, 4))]"


def test_help_names_defaults_that_are_not_those_of_click():
    done = CliRunner().invoke(command, ["--help"])
    said = " ".join(done.output.split())
    assert "Of the well. [default: 3]" in said
    assert "Hidden neurons, of several layers as in 8,4; 0 for none. [default: 0]" in said


def _said(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.output.strip()
