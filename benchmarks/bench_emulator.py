"""A round trip of the emulated machine beside the bare product that bounds it.

Run with ``pytest benchmarks/bench_emulator.py``. ``extra_info`` holds the speed in spin-updates
per second, one spin of one run advanced by one round trip, and its share of the speed of the bare
product in floating point: the same couplings with the same codes, in the same process, by BLAS in
float32 (dense) or by `sparse_product`. Products in bytes may exceed 1. With two threads each has
its own block of runs, and both shares are of two threads.
"""

from __future__ import annotations

import os
import timeit
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cim_hal import Capabilities, IsingModel, lower, read_model
from emulator import MeasurementFeedback
from emulator.dynamics.base import JobInputs
from emulator.noise import NoiseKey
from emulator.products.byte_products import has_byte_products
from emulator.products.coupling import CouplingMatrix
from emulator.products.dense import DenseLevels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 64
REPEATS = 20
# Round trips of a thread between two looks at the clock: short, for the quiet moments of a
# computer with other work, but long beside the start of threads.
CALLS = 8


@pytest.fixture
def shared_dir() -> Path:
    beside = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("CIM_SHARED_DIR", beside))


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(params=["bytes", "floats"])
def arithmetic(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "bytes" and not has_byte_products():
        pytest.skip("no AVX-512 VNNI here")
    if request.param == "floats":
        monkeypatch.setattr("emulator.products.dense.has_byte_products", lambda: False)
    return request.param


def load(shared_dir: Path, name: str) -> IsingModel:
    if name == "gen550_int8":
        with np.load(shared_dir / "instances/dense/gen550_int8.npz") as archive:
            return IsingModel.from_couplings(archive["J"].astype(np.float64))
    if name.startswith("glass"):
        n_spins = int(name.removeprefix("glass"))
        upper = np.triu(np.random.default_rng(0).normal(size=(n_spins, n_spins)), 1)
        return IsingModel.from_couplings(upper + upper.T)
    return read_model(shared_dir / f"instances/gset/{name}.txt").model


def wire(model: IsingModel, dynamics: MeasurementFeedback, bits: int = 8) -> JobInputs:
    machine = Capabilities(name="bench", max_spins=model.n_spins, coupling_bits=bits)
    lowering = lower(model, machine)
    coupling = CouplingMatrix.of(
        lowering.coupling, lowering.field, largest_code=dynamics.largest_code, dtype=np.float32
    )
    return JobInputs(coupling, NoiseKey.from_seed(1))


def bare_product(coupling: CouplingMatrix) -> Callable[[], object]:
    """Return the product in float32, exact or not, ready to be timed."""
    n_spins = len(coupling.field)
    codes = np.random.default_rng(0).integers(-127, 128, (n_spins, RUNS)).astype(np.float32)
    out = np.empty_like(codes)
    J = coupling.matrix
    if not isinstance(J, np.ndarray):
        return lambda: coupling.multiply(codes, out)
    J = J.astype(np.float32)
    return lambda: np.matmul(J, codes, out=out)


def calls_s(work: list[Callable[[], object]], repeats: int) -> float:
    """Return the least time of `CALLS` calls of each, a thread for each."""

    def call_often(call: Callable[[], object]) -> None:
        for _ in range(CALLS):
            call()

    with ThreadPoolExecutor(len(work)) as pool:
        return min(
            timeit.repeat(lambda: list(pool.map(call_often, work)), number=1, repeat=repeats)
        )


def measure(benchmark: Any, inputs: JobInputs, dynamics: MeasurementFeedback, threads: int) -> None:
    blocks = [dynamics.start(inputs, first_run=k * RUNS, n_runs=RUNS) for k in range(threads)]
    work = [lambda block=block: block.advance(0.5) for block in blocks]
    calls_s(work, 1)
    bare = [bare_product(inputs.coupling) for _ in range(threads)]
    bare_s = calls_s(bare, REPEATS)
    round_trips_s = benchmark.pedantic(calls_s, args=(work, REPEATS), rounds=1)
    updates = inputs.n_spins * RUNS * threads * CALLS
    benchmark.extra_info["spin_updates_per_s"] = updates / round_trips_s
    benchmark.extra_info["bare_spin_updates_per_s"] = updates / bare_s
    benchmark.extra_info["share_of_bare_product"] = bare_s / round_trips_s


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "bits"),
    [("gen550_int8", 8), ("glass550", 16), ("glass2000", 8), ("glass2000", 16)],
)
def test_a_dense_round_trip_beside_the_bare_product(  # noqa: PLR0917  a fixture for each
    benchmark: Any, shared_dir: Path, arithmetic: str, name: str, bits: int, threads: int
) -> None:
    dynamics = MeasurementFeedback()
    inputs = wire(load(shared_dir, name), dynamics, bits)
    assert isinstance(inputs.coupling.operand, DenseLevels) == (arithmetic == "bytes")
    measure(benchmark, inputs, dynamics, threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["G1", "G22"])
def test_a_sparse_round_trip_beside_the_bare_product(
    benchmark: Any, shared_dir: Path, name: str, threads: int
) -> None:
    dynamics = MeasurementFeedback()
    measure(benchmark, wire(load(shared_dir, name), dynamics), dynamics, threads)
