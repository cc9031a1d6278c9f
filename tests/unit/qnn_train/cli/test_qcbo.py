"""The command that trains by programs: methods, machines, defaults, refusals."""

from __future__ import annotations

import json
from dataclasses import fields

import click
import pytest

from cim_hal.console import run
from qnn_train.cli.app import program
from qnn_train.cli.qcbo import qcbo
from qnn_train.method_names import ON_PARTS, QCBO_METHODS
from qnn_train.training import METHODS, Recipe


def test_a_method_on_parts_leaves_a_report_that_names_it(guessing, tmp_path, capsys):
    small = ["--train-samples", "6", "--iterations", "3", "--runs", "4", "--device", guessing]
    assert run(program, [*small, "--method", "qph", "--batch", "2", "--pack"]) == 0
    report = json.loads((tmp_path / "runs/digits-3-6-seed0-qph/report.json").read_text())
    assert (report["method"], report["batch"], report["oracle_calls"]) == ("qph", 2, 3)
    assert report["gap"] is None
    assert "6 training images in parts of 2" in capsys.readouterr().out


@pytest.mark.slow
def test_several_machines_give_what_one_gives(guessing, guessing_driver, tmp_path):
    small = ["--train-samples", "4", "--iterations", "4", "--runs", "4", "--method", "qph"]
    small += ["--batch", "2", "--quiet", "--device"]
    given = {
        "one": [guessing],
        "copies": [guessing_driver, "--machines", "2"],
        "two": [guessing, "--device", guessing_driver],
    }
    for out, several in given.items():
        assert run(program, [*small, *several, "--out", out]) == 0
    one, *others = (json.loads((tmp_path / out / "report.json").read_text()) for out in given)
    for other in others:
        assert one["history"] == other["history"]
        assert one["test_accuracy"] == other["test_accuracy"]


def test_help_says_what_each_method_is(capsys):
    assert run(program, ["--help"]) == 0
    said = capsys.readouterr().out
    for name, method in METHODS.items():
        assert f"  {name:<12}{method.about}" in said


def test_a_program_too_large_for_the_machine_is_refused_with_one_that_fits(guessing, capsys):
    assert run(program, ["--train-samples", "40", "--device", guessing]) == 2
    assert "--train-samples 23 fits" in capsys.readouterr().err


def test_the_help_names_the_defaults_of_the_recipe():
    with click.Context(qcbo) as context:
        helps = {option.name: option.get_help_record(context) for option in qcbo.params}
    names = {field.name: field.default for field in fields(Recipe)}
    names["runs"] = names.pop("n_runs")
    for none_by_default in ("coupling_bits", "pack", "levels", "polish"):
        del names[none_by_default]
    for name, default in names.items():
        assert f"[default: {default}]" in (helps[name] or ("", ""))[1]


def test_the_commands_name_the_methods_there_are():
    assert list(QCBO_METHODS) == list(METHODS)
    assert {name for name, method in METHODS.items() if method.batch is not None} == set(ON_PARTS)
