"""The best configuration a run has seen: right energies, for any dynamics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import (
    Capabilities,
    IsingModel,
    PumpSchedule,
    SampleSet,
    TraceRequest,
    open_device,
)
from emulator import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    EmulatedCim,
    MeanField,
    MeasurementFeedback,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
)
from emulator.dynamics.base import Block, JobInputs
from emulator.dynamics.best_seen import BestSeenBlock
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

ALGORITHMS = [
    ChaoticAmplitudeControl(),
    ChaoticFeedbackControl(),
    SeparatedFeedbackControl(),
    AmplitudeHeterogeneityCorrection(),
    SimulatedBifurcation(variant="adiabatic"),
    SimulatedBifurcation(variant="ballistic"),
    SimulatedBifurcation(variant="discrete"),
]


def machine(dynamics, *, threads: int = 1, every: int = 10) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=1000,
        coupling_bits=None if dynamics.has_field else 8,
        has_field=dynamics.has_field,
        default_pump=(0.0, 1.0),
    )
    observed = BestSeen(dynamics=dynamics, every=every)
    return EmulatedCim(observed, capabilities=capabilities, threads=threads)


def model(n: int, *, integer: bool, field: bool = True) -> IsingModel:
    rng = np.random.default_rng(n)
    upper = np.triu(rng.integers(-9, 10, (n, n)) if integer else rng.normal(size=(n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T, rng.integers(-9, 10, n) if field else None)


class Recording(Block):
    """A block that shows given amplitudes one after the other."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.at = frames, -1

    def advance(self, pump: float) -> None:
        self.at += 1

    def amplitudes(self) -> np.ndarray:
        return self.frames[max(self.at, 0)]


def inputs(some: IsingModel, *, largest_code: float | None = 1) -> JobInputs:
    coupling = CouplingMatrix.of(some.J, some.h, largest_code=largest_code, dtype=np.float32)
    signs = CouplingMatrix.of(some.J, some.h, largest_code=1, dtype=np.float64)
    return JobInputs(coupling, NoiseKey.from_seed(1), signs=None if coupling.is_exact else signs)


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("largest_code", [None, 1])
def test_the_lowest_energy_of_all_looks_is_kept_with_its_amplitudes(every, largest_code):
    some, n_frames, n_runs = model(13, integer=True), 20, 6
    frames = np.random.default_rng(2).normal(size=(n_frames, 13, n_runs)).astype(np.float32)
    wired = inputs(some, largest_code=largest_code)
    block = BestSeenBlock(Recording(frames), wired, n_runs=n_runs, every=every)
    for _ in range(n_frames):
        block.advance(1.0)
    best = block.amplitudes()
    looked_at = sorted({*range(every - 1, n_frames, every), n_frames - 1})
    spins = np.where(frames < 0, -1, 1)[looked_at]
    seen = some.energy(spins.transpose(0, 2, 1).reshape(-1, 13)).reshape(len(looked_at), n_runs)
    np.testing.assert_array_equal(block.energies, seen.min(axis=0))
    for run, at in enumerate(seen.argmin(axis=0)):
        np.testing.assert_array_equal(best[:, run], frames[looked_at[at], :, run])


@pytest.mark.parametrize("dynamics", ALGORITHMS, ids=str)
def test_energies_of_a_block_are_those_of_what_it_reads_out(dynamics):
    for integer in (True, False):
        some = model(21, integer=integer)
        wired = inputs(some, largest_code=dynamics.largest_code)
        block = BestSeen(dynamics=dynamics).start(wired, first_run=0, n_runs=16)
        assert isinstance(block, BestSeenBlock)
        for pump in np.linspace(0, 1, 200):
            block.advance(pump)
        spins = np.where(block.amplitudes() < 0, -1, 1).T
        expected = some.energy(spins)
        if integer:
            np.testing.assert_array_equal(block.energies, expected)
        else:
            ratio = block.energies / expected
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)  # another unit


@pytest.mark.parametrize("dynamics", ALGORITHMS, ids=str)
def test_the_best_seen_is_never_above_the_last(dynamics, energies_of):
    some = model(40, integer=True)
    often = energies_of(machine(dynamics, every=1), some, n_runs=32, round_trips=300)
    seldom = energies_of(machine(dynamics, every=15), some, n_runs=32, round_trips=300)
    last = energies_of(machine(dynamics, every=1000), some, n_runs=32, round_trips=300)
    assert (often <= seldom).all()
    assert (seldom <= last).all()
    assert often.sum() < last.sum() or isinstance(dynamics, SimulatedBifurcation)


@pytest.mark.slow
def test_sparse_and_dense_couplings_are_solved_alike(energies_of):
    some = model(60, integer=True, field=False)
    sparse = IsingModel.from_couplings(sp.csr_array(some.J))
    driver = machine(SimulatedBifurcation())
    dense_energies, sparse_energies = (energies_of(driver, form) for form in (some, sparse))
    # all sums of the discrete variant are integers
    np.testing.assert_array_equal(dense_energies, sparse_energies)


@pytest.mark.parametrize("dynamics", [MeanField(noise=0.05), MeasurementFeedback()], ids=str)
def test_physical_machines_can_be_observed_too(dynamics, energies_of):
    some = model(40, integer=True, field=False)
    best = energies_of(machine(dynamics, every=1), some, n_runs=32, round_trips=300)
    last = energies_of(machine(dynamics, every=1000), some, n_runs=32, round_trips=300)
    assert (best <= last).all()


def test_less_than_one_round_trip_between_looks_is_refused():
    with pytest.raises(ValueError, match="every = 0"):
        BestSeen(dynamics=MeanField(), every=0)


@pytest.mark.parametrize(
    "target", ["emulator", "emulator-ideal", "emulator-mean-field", "emulator-gaussian"]
)
def test_a_job_may_ask_a_machine_that_reads_its_last_record_for_the_best(target):
    some, short = model(20, integer=True), PumpSchedule((0.0, 1.1), 200)
    trace = TraceRequest(every=50, runs=3)

    def sampled(**settings: float) -> SampleSet:
        given = {"n_runs": 16, "seed": 3, "settings": settings, "trace": trace}
        return session.sample(some, short, **given)

    with open_device(target) as session:
        last, asked, often = sampled(), sampled(every=0), sampled(every=1)
        offered = {setting.name: setting for setting in session.capabilities.settings}["every"]
    assert (offered.default, offered.low, offered.searched) == (0, 0, False)
    np.testing.assert_array_equal(asked.amplitudes, last.amplitudes)
    assert often.trace is not None
    assert last.trace is not None
    np.testing.assert_array_equal(often.trace.amplitudes, last.trace.amplitudes)
    assert (often.energies <= last.energies).all()
    assert often.energies.sum() < last.energies.sum()


def test_an_algorithm_that_reads_its_last_weakens_no_penalty():
    n, penalty = 30, 300.0
    Q = penalty * (np.ones((n, n)) - 16 * np.eye(n)) + np.diag(np.linspace(-1, 1, n))
    with open_device("emulator-simcim") as session:
        notes = [
            session.sample(IsingModel.from_qubo(Q), seed=1, settings={"every": every}).record.notes
            for every in (0, 10)
        ]
    assert ["penalty_share" in each for each in notes] == [False, True]
