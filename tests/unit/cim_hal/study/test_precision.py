"""Bits that a model needs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import IsingModel, console
from cim_hal.cli.app import program
from cim_hal.errors import CapabilityError
from cim_hal.study.precision import dynamic_range, enough_bits, policies_at, precision


def triangle(*couplings: float, h: object = None) -> IsingModel:
    J = np.zeros((3, 3))
    J[0, 1], J[1, 2], J[0, 2] = couplings
    return IsingModel.from_couplings(J + J.T, h)


def test_integers_need_the_bits_of_the_largest():
    found = precision(triangle(5, -3, 7))
    assert [each.bits for each in found if each.max_error == 0] == list(range(4, 17))
    assert dynamic_range(triangle(5, -3, 7)) == pytest.approx(7 / 3)


def test_enough_bits_are_those_from_which_on_the_optimum_survives():
    # at two bits 0.6 and 0.9 are one level, and two configurations one energy
    model = triangle(-1.0, -0.9, -0.6)
    found = precision(model)
    assert not found[0].survival.all
    assert enough_bits(found) == next(each.bits for each in found if each.survival.all)


def test_a_large_model_is_judged_by_its_numbers():
    upper = np.triu(np.random.default_rng(0).integers(-3, 4, (30, 30)), 1).astype(float)
    found = precision(IsingModel.from_couplings(upper + upper.T))
    assert found[0].survival is None
    assert enough_bits(found) == 3


@pytest.mark.parametrize("has_field", [False, True])
def test_fields_count(has_field):
    found = precision(triangle(1, 1, 1, h=[0.3, 0.0, 0.0]), has_field=has_field)
    assert found[0].max_error > 0
    assert found[-1].survival.share == 1


@pytest.mark.parametrize(("h", "max_spins"), [(None, 2), ([0.3, 0, 0], 3)])
def test_policies_refuse_a_model_that_is_larger_than_the_machine(h, max_spins):
    with pytest.raises(CapabilityError, match="max_spins"):
        policies_at(triangle(1, 2, 3, h=h), 3, max_spins=max_spins)
    assert policies_at(triangle(1, 2, 3, h=h), 3, max_spins=max_spins + 1)


def test_a_range_beyond_all_numbers_is_infinite_and_json(tmp_path, capsys):
    path = tmp_path / "far.txt"
    path.write_text("3 2\n1 2 1e290\n2 3 1e-290\n")
    assert console.run(program, ["precision", "--model", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dynamic_range"] == "inf"


def test_the_command_says_it(tmp_path, capsys):
    path = tmp_path / "triangle.txt"
    path.write_text("3 3\n1 2 5\n2 3 3\n1 3 7\n")
    assert console.run(program, ["precision", "--model", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_spins"] == 3
    assert len(found["bits"]) == 15
    assert console.run(program, ["precision", "--model", str(path)]) == 0
    assert f"from {found['enough_bits']} bits on the optimum survives" in capsys.readouterr().out
