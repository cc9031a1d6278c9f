"""A round trip of amplitude control and simulated bifurcation beside the bare product.

Run with ``pytest benchmarks/bench_algorithms.py``. ``extra_info`` holds the speed in spin-updates
per second, one spin of one run advanced by one round trip, and its share of the speed of the bare
product in float32: the same couplings with real amplitudes, in the same process, by BLAS (dense)
or by `sparse_product`. Products in bytes, as dSB makes them of integer couplings, may exceed 1.
With two threads each has its own block of runs, and both shares are of two threads. ``looks`` says
whether the best configuration is kept, by a look at the energies every 10 round trips.
"""

from __future__ import annotations

import os
import timeit
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cim_hal import IsingModel, read_model
from emulator import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
)
from emulator.dynamics.base import Dynamics, JobInputs
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix
from emulator.products.packing import aligned_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 64
# Round trips between two looks at the clock: whole chunks, and whole intervals between looks.
ROUND_TRIPS = 80
REPEATS = {"SK1_N100": 40, "G22": 8, "gen550_int8": 8, "K2000": 3}
ALGORITHMS = {
    "cac": ChaoticAmplitudeControl(),
    "cfc": ChaoticFeedbackControl(),
    "sfc": SeparatedFeedbackControl(),
    "ahc": AmplitudeHeterogeneityCorrection(),
    "bsb": SimulatedBifurcation(variant="ballistic"),
    "dsb": SimulatedBifurcation(variant="discrete"),
}


@pytest.fixture
def shared_dir() -> Path:
    beside = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("CIM_SHARED_DIR", beside))


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1, user_api="blas"):
        yield


@cache
def load(shared_dir: Path, name: str) -> IsingModel:
    folder = shared_dir / "instances"
    if name == "SK1_N100":
        with np.load(folder / "sk/SK1_N100.npz") as archive:
            return IsingModel.from_maxcut(archive["W"][0].astype(np.float64))
    if name == "gen550_int8":
        with np.load(folder / "dense/gen550_int8.npz") as archive:
            return IsingModel.from_couplings(archive["J"].astype(np.float64))
    if name == "K2000":
        with np.load(folder / "dense/K2000.npz") as archive:
            W = np.zeros((2000, 2000))
            upper = np.triu_indices(2000, 1)
            W[upper] = 2.0 * np.unpackbits(archive["bits"])[: len(upper[0])] - 1
            return IsingModel.from_maxcut(W + W.T)
    return read_model(folder / f"gset/{name}.txt").model


def wire(model: IsingModel, dynamics: Dynamics) -> JobInputs:
    prepare = partial(CouplingMatrix.of, model.J, model.h)
    coupling = prepare(largest_code=dynamics.largest_code, dtype=np.float32)
    signs = None if coupling.is_exact else prepare(largest_code=1, dtype=np.float64)
    return JobInputs(coupling, NoiseKey.from_seed(1), 2000, signs)


def bare_product(model: IsingModel) -> Callable[[], object]:
    coupling = CouplingMatrix.of(model.J, model.h, largest_code=None, dtype=np.float32)
    x, out = (aligned_zeros((model.n_spins, RUNS), np.float32) for _ in range(2))
    x[:] = np.random.default_rng(0).normal(size=x.shape)
    J = coupling.matrix
    if not isinstance(J, np.ndarray):
        return lambda: coupling.multiply(x, out)
    return lambda: np.matmul(J, x, out=out)


def calls_s(work: list[Callable[[], object]], repeats: int) -> float:
    """Return the least time of `ROUND_TRIPS` calls of each, a thread for each."""

    def call_often(call: Callable[[], object]) -> None:
        for _ in range(ROUND_TRIPS):
            call()

    with ThreadPoolExecutor(len(work)) as pool:
        return min(
            timeit.repeat(lambda: list(pool.map(call_often, work)), number=1, repeat=repeats)
        )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("looks", ["no looks", "looks"])
@pytest.mark.parametrize("name", REPEATS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_round_trip_beside_the_bare_product(  # noqa: PLR0917  a fixture for each
    benchmark: Any, shared_dir: Path, algorithm: str, name: str, looks: str, threads: int
) -> None:
    model, dynamics = load(shared_dir, name), ALGORITHMS[algorithm]
    observed = BestSeen(dynamics=dynamics) if looks == "looks" else dynamics
    inputs = wire(model, observed)
    blocks = [observed.start(inputs, first_run=k * RUNS, n_runs=RUNS) for k in range(threads)]
    work = [partial(block.advance, 0.5) for block in blocks]
    calls_s(work, 1)
    bare_s = calls_s([bare_product(model) for _ in range(threads)], REPEATS[name])
    round_trips_s = benchmark.pedantic(calls_s, args=(work, REPEATS[name]), rounds=1)
    updates = inputs.n_spins * RUNS * threads * ROUND_TRIPS
    benchmark.extra_info["spin_updates_per_s"] = updates / round_trips_s
    benchmark.extra_info["bare_spin_updates_per_s"] = updates / bare_s
    benchmark.extra_info["share_of_bare_product"] = bare_s / round_trips_s
