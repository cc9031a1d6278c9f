"""dimod, both ways: its own suite on our machines, and its samplers behind our protocol."""

from __future__ import annotations

import itertools
import unittest
from contextlib import ExitStack
from typing import Any, ClassVar, cast

import dimod
import dimod.testing
import numpy as np
import pytest
from dwave.samplers import SimulatedAnnealingSampler

from cim_hal import DevicePool, IsingModel, ModelError, TargetError, open_device, spawn_server
from cim_hal.interop.dimod import CIMSampler, SamplerDriver, driver_factory, from_bqm, to_bqm

# dimod 0.12 does so for models without variables
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array")

ANNEALING = "dimod:dwave.samplers:SimulatedAnnealingSampler"
_OPEN = ExitStack()
_SAMPLERS = {}


def _sampler(name):
    """One of each kind for all tests of dimod's suite."""
    if name not in _SAMPLERS:
        if name == "served":
            target = _OPEN.enter_context(spawn_server("emulator-dsb")).endpoint
        elif name == "pool":
            target = _OPEN.enter_context(DevicePool(["emulator-dsb", "emulator-dsb"]))
        else:
            target = name
        _SAMPLERS[name] = _OPEN.enter_context(CIMSampler(target))
    return _SAMPLERS[name]


class _Later(dimod.Sampler):
    """The sampler of a name, opened in a test: dimod's suite asks for one as it is imported."""

    parameters: ClassVar = {}
    properties: ClassVar = {}

    def __init__(self, name):
        self._name = name

    def sample(self, bqm, **parameters):
        return _sampler(self._name).sample(bqm, **parameters)


def teardown_module():
    _OPEN.close()


@dimod.testing.load_sampler_bqm_tests(lambda: _Later("emulator"))
class TestMeasurementFeedback(unittest.TestCase):
    pass


@dimod.testing.load_sampler_bqm_tests(lambda: _Later("emulator-dsb"))
class TestBifurcation(unittest.TestCase):
    pass


@dimod.testing.load_sampler_bqm_tests(lambda: _Later("served"))
class TestServed(unittest.TestCase):
    pass


@dimod.testing.load_sampler_bqm_tests(lambda: _Later("pool"))
class TestPool(unittest.TestCase):
    pass


def test_it_is_a_sampler_of_dimod():
    dimod.testing.assert_sampler_api(_sampler("emulator-dsb"))


# ---- models ---------------------------------------------------------------------------------


def _drawn(seed, n, vartype):
    rng = np.random.default_rng(seed)
    names = ["a", ("t", 1), 7, "b", 0, frozenset("x"), "c"][:n]
    pairs = {pair: rng.normal() for pair in itertools.combinations(names, 2) if rng.random() < 0.7}
    return dimod.BQM({name: rng.normal() for name in names}, pairs, rng.normal(), vartype)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@pytest.mark.parametrize("seed", range(5))
def test_every_state_has_the_same_energy_on_both_sides(seed, vartype):
    bqm = _drawn(seed, 4 + seed % 4, vartype)
    before = bqm.copy()
    model, labels = from_bqm(bqm)
    spins = np.array(list(itertools.product([-1, 1], repeat=len(labels))), np.int8)
    values = spins if vartype == "SPIN" else (spins + 1) // 2
    np.testing.assert_allclose(model.energy(spins), bqm.energies((values, labels)), atol=1e-12)
    back = to_bqm(model, labels)
    np.testing.assert_allclose(back.energies((spins, labels)), model.energy(spins), atol=1e-12)
    assert list(back.variables) == labels == list(bqm.variables)
    assert bqm == before


def test_a_large_sparse_model_stays_sparse():
    bqm = dimod.BQM({}, {(i, i + 1): 1.0 for i in range(3000)}, "SPIN")
    model, _ = from_bqm(bqm)
    assert model.is_sparse
    assert to_bqm(model) == bqm


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError, match="no variables"):
        from_bqm(dimod.BQM("SPIN"))
    with pytest.raises(ModelError, match="from_qubo"):
        from_bqm({("a", "b"): 1.0})
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    for labels in (["a"], ["a", "a"], "abc"):
        with pytest.raises(ModelError, match="2 spins"):
            to_bqm(pair, labels)


# ---- machines as samplers -------------------------------------------------------------------


def test_samples_have_vartype_labels_and_record():
    bqm = _drawn(1, 5, "BINARY")
    found = _sampler("emulator-dsb").sample(bqm, num_reads=6, seed=3)
    assert (found.vartype, len(found)) == (dimod.BINARY, 6)
    assert set(found.variables) == set(bqm.variables)
    assert found.info["records"][0]["seed"] == 3
    assert found.info["timing"]["device_s"] > 0
    exact = dimod.ExactSolver().sample(bqm)
    assert found.first.energy == pytest.approx(exact.first.energy)


class _Short(SamplerDriver):
    """It makes few runs in a job."""

    def describe(self):
        return super().describe().model_copy(update={"max_runs": 4})


def test_more_reads_than_a_job_may_have_are_several_jobs():
    pairs = dimod.BQM({}, {("abcd"[i], "ABCD"[i]): 1.0 for i in range(4)}, "SPIN")  # 16 optima
    with open_device(_Short(SimulatedAnnealingSampler())) as session:
        sampler = CIMSampler(session)
        first, again = (sampler.sample(pairs, num_reads=10, seed=5) for _ in range(2))
    assert len(first) == 10
    assert len({record["seed"] for record in first.info["records"]}) == 3
    assert [record["lowering"] for record in first.info["records"]]
    np.testing.assert_array_equal(first.record.sample, again.record.sample)
    assert len(np.unique(first.record.sample, axis=0)) > 4  # jobs are no copies of each other


def test_wrong_arguments_are_refused():
    sampler, bqm = _sampler("emulator-dsb"), _drawn(3, 4, "SPIN")
    for wrong in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="num_reads"):
            sampler.sample(bqm, num_reads=wrong)
    assert len(sampler.sample(bqm, num_reads=cast("int", np.int64(2)), seed=np.int64(3))) == 2
    with pytest.raises(ModelError, match="not a dimod"):
        sampler.sample(cast("Any", {}))
    with pytest.warns(dimod.exceptions.SamplerUnknownArgWarning, match="chain_strength"):
        sampler.sample(bqm, num_reads=1, chain_strength=2.0)
    with pytest.raises(TargetError, match="still to be built"):
        CIMSampler(sampler._session, adc_bits=8)
    with open_device("emulator-dsb") as session:
        with CIMSampler(session):
            pass
        session.ping()  # what was open stays open


# ---- samplers as machines -------------------------------------------------------------------


def test_a_sampler_is_a_machine_with_its_arguments_as_options():
    rng = np.random.default_rng(4)
    J = np.triu(rng.normal(size=(10, 10)), 1)
    model = IsingModel.from_couplings(J + J.T, rng.normal(size=10))
    best = min(model.energy(np.array(list(itertools.product([-1, 1], repeat=10)))))
    with open_device(ANNEALING, options={"num_sweeps": 200}) as session:
        assert session.capabilities.reproducible
        found = [session.sample(model, n_runs=20, seed=seed) for seed in (1, 1, 2)]
    assert found[0].best_energy == pytest.approx(best)
    np.testing.assert_array_equal(found[0].spins, found[1].spins)
    with pytest.raises(TargetError, match="did you mean num_sweeps"):
        open_device(ANNEALING, options={"num_sweep": 200})


class _Often(dimod.RandomSampler):
    """Its samples occur never, twice, and 10^11 times."""

    def sample(self, bqm, **_):
        rows = np.array([[-1, -1], [-1, 1], [1, 1]], np.int8)
        return dimod.SampleSet.from_samples_bqm((rows, [0, 1]), bqm, num_occurrences=[0, 2, 10**11])


def test_as_many_samples_are_taken_as_were_asked_for():
    with open_device(SamplerDriver(_Often())) as session:
        found = session.sample(IsingModel.from_couplings(np.zeros((2, 2))), n_runs=4)
    assert sorted(found.spins.tolist()) == [[-1, 1], [-1, 1], [1, 1], [1, 1]]


def test_samples_that_occur_several_times_and_exact_ones_are_runs():
    field = IsingModel.from_couplings(np.zeros((3, 3)), [1.0, 2.0, -1.0])
    with open_device("dimod:dimod:ExactSolver") as session:
        assert not session.capabilities.reproducible
        found = session.sample(field, n_runs=12, seed=0)
    assert found.spins.shape == (12, 3)
    np.testing.assert_array_equal(found.spins[0], [1, 1, -1])


@pytest.mark.parametrize(
    "name",
    ["dimod", "dimod:BQM", "no_such_module:Sampler", "dimod:NoSuchSampler", ":x", ".x:A", ""],
)
def test_what_is_no_sampler_is_refused(name):
    with pytest.raises(TargetError, match="sampler"):
        driver_factory(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:All bqm biases are zero")  # of a program without couplings
@pytest.mark.parametrize(
    ("sampler", "option"),
    [("SimulatedAnnealingSampler", "num_sweeps=200"), ("TabuSampler", "timeout=2")],
)
def test_samplers_of_dwave_conform(sampler, option):
    from click.testing import CliRunner

    from cim_hal.cli.app import program

    options = ["--option", option, "--option", "max_spins=300"]
    done = CliRunner().invoke(program, ["conform", f"dimod:dwave.samplers:{sampler}", *options])
    assert done.exit_code == 0, done.output
    assert " 0 failed" in done.output
