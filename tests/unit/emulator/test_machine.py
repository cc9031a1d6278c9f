"""The emulated machine as a driver: reproducible, cancellable, and right on small models."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import (
    Capabilities,
    CapabilityError,
    IsingModel,
    JobCancelledError,
    Program,
    PumpSchedule,
    StopToken,
    lower,
    open_device,
)
from emulator import Converter, EmulatedCim, MeanField, MeasurementFeedback

FEEDBACK, ANALOG = MeasurementFeedback(), MeasurementFeedback(adc=Converter(full_scale=0.1))
DYNAMICS = [
    pytest.param(FEEDBACK, id="feedback"),
    pytest.param(ANALOG, id="feedback-without-bits"),
    pytest.param(MeasurementFeedback(delay=0, precision="double"), id="feedback-double"),
    pytest.param(MeanField(noise=0.01), id="mean-field"),
]


def machine(dynamics, *, threads: int = 1, bits: int | None = 8) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=1000,
        coupling_bits=None if isinstance(dynamics, MeanField) else bits,
        has_field=dynamics.has_field,
        default_pump=(0.0, 1.2),
    )
    return EmulatedCim(dynamics, capabilities=capabilities, threads=threads)


def glass(n: int, *, seed: int = 0, field: bool = False) -> IsingModel:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n) if field else None)


def ground_energy(model: IsingModel) -> float:
    spins = np.array(list(itertools.product((-1, 1), repeat=model.n_spins)))
    return float(model.energy(spins).min())


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(dynamics, amplitudes_of):
    model, driver = glass(21), machine(dynamics)
    one, again, other = (
        amplitudes_of(driver, model, n_runs=5, seed=seed, round_trips=60) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_sparse_and_dense_couplings_give_the_same_bits(amplitudes_of):
    J = np.asarray(glass(40).J) * (np.random.default_rng(1).random((40, 40)) < 0.2)
    J = np.triu(J, 1) + np.triu(J, 1).T
    for bits in (8, 16):
        driver = machine(FEEDBACK, bits=bits)
        dense, sparse = (
            amplitudes_of(driver, IsingModel.from_couplings(form), round_trips=100)
            for form in (J, sp.csr_array(J))
        )
        np.testing.assert_array_equal(dense, sparse)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_ferromagnet_aligns_in_every_run(dynamics, amplitudes_of):
    J = np.ones((24, 24)) - np.eye(24)
    amplitudes = amplitudes_of(machine(dynamics), IsingModel.from_couplings(J), round_trips=1000)
    signs = np.sign(amplitudes)
    assert (signs == signs[:, :1]).all()
    # 64 fair coins: 4 standard deviations
    assert abs(signs[:, 0].sum()) < 4 * np.sqrt(64)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_field_turns_uncoupled_spins(dynamics, energies_of):
    h = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    model = IsingModel.from_couplings(np.zeros((5, 5)), h)
    energies = energies_of(machine(dynamics), model, round_trips=400)
    assert (energies == -5).mean() > 0.95


@pytest.mark.parametrize("field", [False, True], ids=["no field", "field"])
@pytest.mark.parametrize("seed", range(4))
def test_ground_states_of_14_spins_are_found_in_a_fifth_of_runs(seed, field, energies_of):
    model = glass(14, seed=seed, field=field)
    driver = machine(FEEDBACK, bits=16)
    energies = energies_of(driver, model, n_runs=128, round_trips=1000)
    assert np.mean(energies < ground_energy(model) + 1e-3) > 1 / 5


def test_an_odd_machine_and_a_single_spin_work(amplitudes_of):
    for n in (1, 3):
        amplitudes = amplitudes_of(machine(FEEDBACK), glass(n), n_runs=3, round_trips=30)
        assert amplitudes.shape == (3, n)


def test_more_bits_than_float32_carries_are_still_exact(amplitudes_of):
    fine = MeasurementFeedback(adc=Converter(full_scale=0.1, bits=20))
    J = glass(30)
    alone = amplitudes_of(machine(fine, bits=16), J, n_runs=3, round_trips=50)
    among = amplitudes_of(machine(fine, bits=16, threads=3), J, n_runs=99, round_trips=50)
    np.testing.assert_array_equal(alone, among[:3])


def long_program(driver: EmulatedCim) -> Program:
    lowering = lower(glass(200), driver.describe())
    return Program(lowering, PumpSchedule.linear(0, 1, round_trips=100_000), 128, 1)


def test_a_set_token_cancels_before_the_first_round_trip():
    driver, stop = machine(FEEDBACK), StopToken()
    stop.set()
    with pytest.raises(JobCancelledError) as caught:
        driver.run(long_program(driver), stop)
    assert caught.value.details["at_round_trip"] == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_token_set_during_a_run_cancels_it_soon(threads):
    driver, stop = machine(FEEDBACK, threads=threads), StopToken()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    with pytest.raises(JobCancelledError) as caught:
        driver.run(long_program(driver), stop)
    timer.join()
    assert 0 < caught.value.details["at_round_trip"] < 100_000


def test_a_machine_may_not_promise_a_field_its_physics_lacks():
    capabilities = Capabilities(name="test", max_spins=2, coupling_bits=8, has_field=True)
    with pytest.raises(ValueError, match="no field"):
        EmulatedCim(FEEDBACK, capabilities=capabilities)


def test_a_machine_needs_a_thread():
    with pytest.raises(ValueError, match="threads = 0"):
        machine(FEEDBACK, threads=0)


@pytest.mark.parametrize(
    "options", [{"transmission": 0}, {"outcoupling": 1.0}, {"delay": -1}, {"precision": "half"}]
)
def test_options_of_measurement_feedback_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeasurementFeedback(**options)


@pytest.mark.parametrize("options", [{"time_step": 0}, {"noise": -1}, {"field_amplitude": np.inf}])
def test_options_of_the_mean_field_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeanField(**options)


@pytest.mark.parametrize("options", [{"bits": 0}, {"bits": 60}, {"full_scale": 0.0}])
def test_converters_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"bits|full_scale"):
        Converter(**{"full_scale": 1.0, "bits": 8, **options})


def test_a_pump_is_refused_where_the_settings_of_the_job_do_not_allow_it():
    with open_device(machine(FEEDBACK)) as session:
        schedule, lossy = PumpSchedule.linear(0.0, 3.0, round_trips=50), {"outcoupling": 0.9}
        with pytest.raises(CapabilityError, match=r"up to 2\.32 with these settings"):
            session.sample(glass(4), schedule, n_runs=1, settings=lossy)
        session.sample(glass(4), schedule, n_runs=1)
