"""The command: what it says and how it ends, without a machine or with one that guesses."""

from __future__ import annotations

import json

import pytest

from cim_hal.console import run
from qnn_train.cli.app import program


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--classes", "3,12"], "no class 12"),
        (["--classes", "three"], "is not class numbers"),
        (["--classes", "3,3"], "are the same"),
        (["--grid", "3"], "does not divide"),
        (["--weights", "float"], "no weights of the kind"),
        (["--train-samples", "5000"], "between 2 and"),
        (["--dataset", "fashion-mnist", "--data-dir", "nowhere"], "--download"),
        (["--iterations", "0"], "1<=x<="),
        (["--machines", "2", "--device", "tcp://127.0.0.1:1"], "copies of one driver"),
        (["--batch", "3"], "--batch belongs to methods on parts: dlbo, dlbo-2 or qph"),
        (["--method", "qph", "--train-samples", "all"], "takes a number of images"),
        (["--device", "no-such-machine"], "no device goes by the name"),
    ],
)
def test_bad_input_ends_with_one_line_and_status_2(
    options, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run(program, options) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_help_shows_examples_and_defaults(capsys):
    assert run(program, ["--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert "emulator-550" in said


@pytest.mark.parametrize("arguments", [[], ["qcbo"]])
def test_arguments_without_a_command_are_those_of_programs(arguments, guessing, tmp_path):
    small = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--device", guessing]
    assert run(program, [*arguments, *small, "--out", "there", "--quiet"]) == 0
    assert json.loads((tmp_path / "there/report.json").read_text())["method"] == "qcgd"


def test_a_command_that_does_not_exist_is_no_option_either(capsys):
    assert run(program, ["magic"]) == 2
    assert "magic" in capsys.readouterr().err
