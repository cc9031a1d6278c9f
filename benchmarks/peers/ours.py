"""The emulator behind the peers' signature. Runs in this repository's environment."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import scipy.sparse as sp
from peers import clock

from cim_hal import IsingModel, Program, PumpSchedule, StopToken, lower, make_driver
from emulator.products.sparse import sparse_product

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from peers import Couplings

    from cim_hal import Driver, Lowering

__all__ = ["bare_product", "emulator"]

# A couplings matrix with fewer entries than this share is given as a sparse one.
SPARSE_SHARE = 0.1
# Times the set-up is measured; the least counts.
SET_UPS = 5


def emulator(
    couplings: Couplings,
    *,
    steps: int,
    runs: int,
    seed: int,
    driver: str,
    threads: int,
    allows_bytes: bool = True,
) -> tuple[float, NDArray[Any]]:
    """Run a machine at its defaults, by the name `open_device` knows it by.

    The peers' loops are timed without their set-up. A machine shows no seam between the two, so
    the time of a run of one round trip is taken off, and the rest counted for that one as well.
    """
    if steps == 1:
        raise ValueError("steps = 1: nothing would be left without the set-up")
    machine, lowering = _machine(driver, threads), _lowering(couplings, driver)
    floats = mock.patch("emulator.products.dense.has_byte_products", return_value=False)
    with nullcontext() if allows_bytes else floats:
        set_up_s = _set_up_s(couplings, driver, threads, runs, allows_bytes)
        whole_s, amplitudes = _timed_run(machine, lowering, steps, runs, seed)
    loop_s = max(whole_s - set_up_s, 0.0) * steps / (steps - 1)
    return loop_s, lowering.lift(amplitudes)


def bare_product(
    couplings: Couplings, *, steps: int, runs: int, seed: int, threads: int
) -> tuple[float, NDArray[Any]]:
    """Multiply the couplings with codes in float32, `steps` times: no dynamics can be faster."""
    del threads  # one, that of the process
    J = _dense_or_sparse(couplings.J.astype(np.float32))
    shape = (couplings.n_spins, runs)
    codes = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.float32)
    out = np.empty_like(codes)
    if isinstance(J, np.ndarray):
        multiply = partial(np.matmul, J, codes, out=out)
    else:
        indices = J.indptr.astype(np.uint32), J.indices.astype(np.uint32)
        multiply = partial(sparse_product, *indices, J.data, codes, out)
    multiply()
    start = clock()
    for _ in range(steps):
        multiply()
    return clock() - start, out.T


def _dense_or_sparse(J: NDArray[Any]) -> Any:
    return sp.csr_array(J) if (J != 0).mean() < SPARSE_SHARE else J


@cache
def _machine(driver: str, threads: int) -> Driver:
    return make_driver(driver, {"threads": threads})


@cache
def _lowering(couplings: Couplings, driver: str) -> Lowering:
    model = IsingModel.from_couplings(_dense_or_sparse(couplings.doubles))
    return lower(model, make_driver(driver).describe())


@cache
def _set_up_s(
    couplings: Couplings,
    driver: str,
    threads: int,
    runs: int,
    allows_bytes: bool,  # noqa: FBT001
) -> float:
    del allows_bytes  # set by the caller
    machine, lowering = _machine(driver, threads), _lowering(couplings, driver)
    _timed_run(machine, lowering, 20, runs, 0)  # compiled kernels are loaded on first use
    return min(_timed_run(machine, lowering, 1, runs, 0)[0] for _ in range(SET_UPS))


def _timed_run(
    machine: Driver, lowering: Lowering, steps: int, runs: int, seed: int
) -> tuple[float, NDArray[Any]]:
    schedule = PumpSchedule.through(machine.describe().default_pump, round_trips=steps)
    program = Program(lowering, schedule, runs, seed)
    start = clock()
    readout = machine.run(program, StopToken())
    return clock() - start, readout.values
