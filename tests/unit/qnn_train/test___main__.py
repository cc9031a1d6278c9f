"""The command: what it says and how it ends, without a machine or with one that guesses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import fields

import click
import numpy as np
import processes
import pytest

from cim_hal.console import run
from qnn_train import TrainedModel, load_digits
from qnn_train.__main__ import program
from qnn_train.cli.qcbo import qcbo
from qnn_train.method_names import ON_PARTS, QCBO_METHODS
from qnn_train.training import METHODS, Checkpoint, Recipe


@pytest.fixture
def guessing(monkeypatch, tmp_path):
    """Name a driver that a server process can import."""
    lines = [
        "import numpy as np",
        "from cim_hal import Capabilities, Driver, Readout",
        "class Guessing(Driver):",
        "    def describe(self):",
        "        return Capabilities(name='guessing', max_spins=400, coupling_bits=8)",
        "    def run(self, program, stop):",
        "        rng = np.random.default_rng(program.seed)",
        "        return Readout(rng.choice([-1, 1], (program.n_runs, program.n_spins)))",
    ]
    (tmp_path / "guessing_bench.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    return "guessing_bench:Guessing"


def test_a_run_leaves_a_model_a_report_and_a_picture(guessing, tmp_path, capsys):
    small = ["--train-samples", "4", "--iterations", "2", "--runs", "4", "--device", guessing]
    assert run(program, [*small, "--json", "again.json"]) == 0
    folder = tmp_path / "runs" / "digits-3-6-seed0"
    report = json.loads((folder / "report.json").read_text())
    assert report == json.loads((tmp_path / "again.json").read_text())
    assert (folder / "training.png").stat().st_size > 0
    test = load_digits().pair(3, 6).test
    right = TrainedModel.load(folder / "model.npz").predict(test.images)
    assert report["test_accuracy"] == (right == np.where(test.labels > 0, 6, 3)).mean()
    said = capsys.readouterr()
    assert f"{100 * report['test_accuracy']:.2f} %" in said.out
    assert str(folder.relative_to(tmp_path) / "model.npz") in said.out
    assert said.err == ""


def test_json_on_stdout_is_nothing_but_json(guessing, capsys):
    small = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--device", guessing]
    assert run(program, [*small, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    needed = {"test_accuracy", "train_accuracy", "n_test", "bits_per_parameter", "spins"}
    needed |= {"oracle_calls", "seconds", "infeasibility", "seed", "device", "coupling_bits"}
    assert needed <= report.keys()
    assert report["score"] == "train"


def test_a_method_on_parts_leaves_a_report_that_names_it(guessing, tmp_path, capsys):
    small = ["--train-samples", "6", "--iterations", "3", "--runs", "4", "--device", guessing]
    assert run(program, [*small, "--method", "qph", "--batch", "2", "--pack"]) == 0
    report = json.loads((tmp_path / "runs/digits-3-6-seed0-qph/report.json").read_text())
    assert (report["method"], report["batch"], report["oracle_calls"]) == ("qph", 2, 3)
    assert report["gap"] is None
    assert "6 training images in parts of 2" in capsys.readouterr().out


@pytest.mark.parametrize("several", [["--machines", "2"], ["--device"]])
def test_several_machines_give_what_one_gives(several, guessing, tmp_path):
    small = ["--train-samples", "4", "--iterations", "4", "--runs", "4", "--method", "qph"]
    small += ["--batch", "2", "--quiet", "--device", guessing]
    assert run(program, [*small, "--out", "one"]) == 0
    if several == ["--device"]:
        several = ["--device", guessing]
    assert run(program, [*small, *several, "--out", "two"]) == 0
    one, two = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")
    )
    assert one["history"] == two["history"]
    assert one["test_accuracy"] == two["test_accuracy"]


def test_help_says_what_each_method_is(capsys):
    assert run(program, ["--help"]) == 0
    said = capsys.readouterr().out
    for name, method in METHODS.items():
        assert f"  {name:<10}{method.about}" in said


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
        (["--iterations", "0"], "x>=1"),
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


def test_a_program_too_large_for_the_machine_is_refused_with_one_that_fits(guessing, capsys):
    assert run(program, ["--train-samples", "40", "--device", guessing]) == 2
    assert "--train-samples 23 fits" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_one_line(guessing, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    options = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--out", "taken/x"]
    assert run(program, [*options, "--device", guessing]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_help_shows_examples_and_defaults(capsys):
    assert run(program, ["--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert "emulator-550" in said


def test_an_interrupt_leaves_a_checkpoint_or_no_folder(guessing, tmp_path):
    arguments = ["--iterations", "1000000", "--train-samples", "2", "--device", guessing]
    command = [sys.executable, "-m", "qnn_train", *arguments, "--out", "unfinished"]
    with processes.start(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "unfinished").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    *how, why = said.strip().splitlines()
    assert why == "error: interrupted"
    if not how:  # it came before the first step
        assert not (tmp_path / "unfinished").exists()
        return
    assert how[0].endswith("go on with: qnn-train --resume unfinished/checkpoint.npz")
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["checkpoint.npz"]
    assert Checkpoint.load(tmp_path / "unfinished/checkpoint.npz").history.calls[-1] >= 1


def test_the_help_names_the_defaults_of_the_recipe():
    with click.Context(qcbo) as context:
        helps = {option.name: option.get_help_record(context) for option in qcbo.params}
    names = {field.name: field.default for field in fields(Recipe)}
    names["runs"] = names.pop("n_runs")
    del names["coupling_bits"], names["pack"]
    for name, default in names.items():
        assert f"[default: {default}]" in (helps[name] or ("", ""))[1]


def test_the_commands_name_the_methods_there_are():
    assert list(QCBO_METHODS) == list(METHODS)
    assert {name for name, method in METHODS.items() if method.batch is not None} == set(ON_PARTS)


@pytest.mark.parametrize("arguments", [[], ["qcbo"]])
def test_arguments_without_a_command_are_those_of_programs(arguments, guessing, tmp_path):
    small = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--device", guessing]
    assert run(program, [*arguments, *small, "--out", "there", "--quiet"]) == 0
    assert json.loads((tmp_path / "there/report.json").read_text())["method"] == "qcgd"


def test_a_command_that_does_not_exist_is_no_option_either(capsys):
    assert run(program, ["magic"]) == 2
    assert "magic" in capsys.readouterr().err
