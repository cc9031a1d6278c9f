"""``cim-hal convert``: any model file to any other, standard input too."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cim_hal import IsingModel, ModelError, read_model, write_model
from cim_hal.cli.app import program
from cim_hal.cli.convert import LAYOUTS as NAMES
from cim_hal.model.file_writers import LAYOUTS

MODEL = IsingModel.from_maxcut([[0, 1, 0.5], [1, 0, -2], [0.5, -2, 0]])


def test_the_command_knows_every_layout():
    assert set(NAMES) == set(LAYOUTS)


@pytest.mark.parametrize("name", ["m.gset", "m.npz", "m.npy"])
def test_convert_reads_standard_input(tmp_path, name):
    write_model(tmp_path / name, MODEL)
    done = CliRunner().invoke(
        program,
        ["convert", "-", str(tmp_path / "m.json"), "--json"],
        input=(tmp_path / name).read_bytes(),
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["layout"] == "bqpjson"
    np.testing.assert_array_equal(read_model(tmp_path / "m.json").model.J, MODEL.J)


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]])
def test_names_of_variables_are_not_dropped_without_a_word(tmp_path, labels):
    write_model(tmp_path / "m.json", MODEL, layout="dimod")
    table = json.loads((tmp_path / "m.json").read_text()) | {"variable_labels": labels}
    (tmp_path / "m.json").write_text(json.dumps(table))
    paths = map(str, (tmp_path / "m.json", tmp_path / "m.txt"))
    done = CliRunner().invoke(program, ["convert", *paths])
    assert ("by number" in done.output) == (labels[0] == "a")


def test_convert_refuses_before_it_writes(tmp_path):
    (tmp_path / "m.txt").write_text("2 1\n1 2 3\n")
    done = CliRunner().invoke(program, ["convert", *map(str, (tmp_path / "m.txt", tmp_path / "x"))])
    assert isinstance(done.exception, ModelError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.txt"]
