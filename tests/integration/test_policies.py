"""Lowering policies from the client to the machine and back, and as a factor of studies."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import IsingModel, LoopbackTransport, TraceRequest, lower_by, open_device
from cim_hal.machine.registry import make_driver
from cim_hal.model.enumeration import all_energies
from cim_hal.study import run_study
from cim_hal.study.exhaustion import survival

RUNS = {"n_runs": 32, "seed": 1, "coupling_bits": 8}


def dominated(field: float = 0.0) -> IsingModel:
    """Return couplings of at most 7 beside one of 2000: at 8 bits one level is 15.7."""
    rng = np.random.default_rng(0)
    upper = np.triu(rng.integers(-7, 8, (14, 14)), 1).astype(float)
    upper[0, 1] = 2000
    return IsingModel.from_couplings(upper + upper.T, field * rng.choice([-1, 1], 14), offset=5)


@pytest.fixture(scope="module")
def machine():
    with open_device("emulator") as session:
        yield session


@pytest.mark.parametrize("field", [0.0, 2.0])
def test_splitting_finds_the_optimum_that_plain_scaling_loses(machine, field):
    model = dominated(field)
    best = all_energies(model).min()
    plain = machine.sample(model, **RUNS)
    split = machine.sample(model, **RUNS, lowering="splitting")
    clipped = machine.sample(model, **RUNS, lowering="quantile")
    assert plain.success_probability(best) == clipped.success_probability(best) == 0
    assert split.success_probability(best) > 0.2
    assert split.spins.shape == plain.spins.shape == (32, 14)
    assert (split.energies == model.energy(split.spins)).all()
    notes, report = split.record.notes, split.record.lowering
    assert (notes["lowering"], notes["auxiliary_spins"], notes["broken_copies"]) == (
        *("splitting", 15),
        pytest.approx(0, abs=0.2),
    )
    assert (report.step, report.max_error, report.bits) == (1, 0, 8)
    assert report.machine_spins == 29 + bool(field)
    assert survival(model, machine.capabilities, bits=8).share < 0.01
    left = survival(model, machine.capabilities, bits=8, lowering="splitting")
    assert (left.share, left.excess_energy) == (1, 0)


def test_samples_of_what_is_sent_become_those_of_the_model(machine):
    model = dominated()
    lowered = lower_by("splitting", model, machine.capabilities, bits=8)
    sent = machine.sample(lowered.model, **RUNS)
    found, direct = lowered.samples(sent), machine.sample(model, **RUNS, lowering="splitting")
    assert sorted(map(tuple, found.spins)) == sorted(map(tuple, direct.spins))
    assert (found.energies == direct.energies).all()
    assert found.amplitudes is not None
    assert (np.where(found.amplitudes < 0, -1, 1) == found.spins).all()


def test_batches_and_traces_have_the_spins_of_the_model(machine):
    model = dominated()
    job = machine.submit(model, **RUNS, lowering="splitting", trace=TraceRequest(500, 4))
    assert job.result().trace.amplitudes.shape[1:] == (4, 14)
    joined = [
        batch.spins.shape[1]
        for batch in machine.submit(model, **RUNS, lowering="splitting").batches()
    ]
    assert set(joined) == {14}


def test_stochastic_rounding_repeats_with_the_seed_of_the_job(machine):
    model = IsingModel.from_couplings(np.array([[0, 0.4, 1], [0.4, 0, -0.3], [1, -0.3, 0]]))
    options = {"n_runs": 4, "coupling_bits": 2, "lowering": "stochastic"}
    first = machine.sample(model, **options)
    again = machine.sample(model, **options, seed=first.record.seed)
    assert first.record.coupling == again.record.coupling
    digests = {machine.sample(model, **options, seed=k).record.coupling for k in range(12)}
    assert len(digests) > 1


def test_policies_go_over_the_wire_and_through_pools():
    from cim_hal import DevicePool

    model, best = dominated(), all_energies(dominated()).min()
    with open_device(LoopbackTransport(make_driver("emulator-mean-field"))) as session:
        assert session.sample(model, **RUNS, lowering="splitting").best_energy == best
    with DevicePool(["emulator-mean-field"]) as pool:
        assert pool.sample(model, **RUNS, lowering="mutation").best_energy == best


STUDY = """
[study]
name = "Policies"
[models]
files = ["dominated.npz"]
[machine]
device = "emulator-mean-field"
[factors]
lowering = ["max", "quantile", "stochastic", "splitting", "mutation"]
coupling_bits = [8]
[repeat]
runs = 16
"""


def test_a_policy_is_a_factor_of_a_study(run, tmp_path):
    model = dominated()
    np.savez(tmp_path / "dominated.npz", J=model.J, h=model.h)
    (tmp_path / "study.toml").write_text(STUDY)
    found = run_study(tmp_path / "study.toml", tmp_path / "out", csv=True)
    points = {point["factors"]["lowering"]: point for point in found["points"]}
    assert points["splitting"]["success_probability"] > points["max"]["success_probability"]
    assert points["splitting"]["rounded"] == points["mutation"]["rounded"] == 1
    assert points["max"]["rounded"] < 0.01
    assert "lowering" in (tmp_path / "out/rows.csv").read_text().splitlines()[0]
    status, out, err = run("sweep", str(tmp_path / "study.toml"), "--out", str(tmp_path / "again"))
    assert status == 0, err
    assert "splitting" in out
    assert "splitting" in (tmp_path / "again/report.html").read_text()
    assert run("sweep", "--row", "1", str(tmp_path / "again"))[0] == 0


def test_precision_names_the_cheapest_policy(run, tmp_path):
    path = tmp_path / "dominated.npz"
    model = dominated()
    np.savez(path, J=model.J, h=model.h)
    status, out, err = run("precision", "--model", str(path), "--bits", "8", "--json")
    assert status == 0, err
    found = json.loads(out)
    policies = {each["policy"]: each for each in found["policies"]}
    assert found["cheapest"] == "mutation"
    assert policies["splitting"]["auxiliary_spins"] == 15
    assert not policies["max"]["keeps_optimum"]
    assert policies["mutation"]["keeps_optimum"]
    _, out, _ = run("precision", "--model", str(path), "--bits", "8", "--max-spins", "20")
    assert "splitting is refused" in out
    assert "cheapest at 8 bits that keeps the optimum: mutation" in out


def test_the_command_sample_takes_a_policy(run, tmp_path):
    path = tmp_path / "dominated.npz"
    model = dominated()
    np.savez(path, J=model.J, h=model.h)
    command = ("sample", "emulator-mean-field", "--model", str(path), "--bits", "8", "--json")
    status, out, err = run(*command, "--lowering", "splitting", "--runs", "16", "--seed", "1")
    assert status == 0, err
    found = json.loads(out)
    assert found["best_energy"] == all_energies(model).min() - 5  # a file has no offset
    assert found["notes"]["lowering"] == "splitting"
