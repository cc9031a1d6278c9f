"""A round trip of the emulated machine beside the bare product that bounds it.

Run with ``pytest benchmarks/bench_emulator.py``. ``extra_info`` holds the speed in spin-updates
per second, one spin of one run advanced by one round trip, and the share of the bare product's
rate: the product of the same couplings with the same codes, in the same process.
"""

from __future__ import annotations

import os
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cim_hal import Capabilities, IsingModel, lower, read_model
from emulator import MeasurementFeedback
from emulator.coupling import CouplingMatrix
from emulator.dynamics import Wiring
from emulator.noise import NoiseKey

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 64
REPEATS = 50


@pytest.fixture
def shared_dir() -> Path:
    beside = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("CIM_SHARED_DIR", beside))


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1, user_api="blas"):
        yield


def load(shared_dir: Path, name: str) -> IsingModel:
    if name == "gen550_int8":
        with np.load(shared_dir / "instances/dense/gen550_int8.npz") as archive:
            return IsingModel.from_couplings(archive["J"].astype(np.float64))
    return read_model(shared_dir / f"instances/gset/{name}.txt").model


def wire(model: IsingModel, dynamics: MeasurementFeedback) -> Wiring:
    machine = Capabilities(name="bench", max_spins=model.n_spins, coupling_bits=8)
    lowering = lower(model, machine)
    coupling = CouplingMatrix.of(
        lowering.coupling, lowering.field, largest_code=dynamics.largest_code, dtype=np.float32
    )
    return Wiring(coupling, NoiseKey.from_seed(1))


@pytest.mark.parametrize("name", ["gen550_int8", "G1", "G22"])
def test_a_round_trip_beside_the_bare_product(benchmark: Any, shared_dir: Path, name: str) -> None:
    dynamics = MeasurementFeedback()
    wiring = wire(load(shared_dir, name), dynamics)
    block = dynamics.start(wiring, first_run=0, n_runs=RUNS)
    for _ in range(REPEATS):
        block.advance(0.5)
    codes = block.latest_codes[: wiring.n_spins].copy()
    out = np.empty_like(codes)
    bare_s = min(
        timeit.repeat(lambda: wiring.coupling.multiply(codes, out), number=1, repeat=REPEATS)
    )
    benchmark.pedantic(block.advance, args=(0.5,), rounds=4 * REPEATS)
    updates = wiring.n_spins * RUNS
    round_trip_s = benchmark.stats.stats.min
    benchmark.extra_info["spin_updates_per_s"] = updates / round_trip_s
    benchmark.extra_info["bare_spin_updates_per_s"] = updates / bare_s
    benchmark.extra_info["share_of_bare_product"] = bare_s / round_trip_s
