"""A coherent Ising machine made of equations, behind the same waist as a laboratory's."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import numpy as np
from threadpoolctl import ThreadpoolController

from cim_hal import (
    Capabilities,
    CapabilityError,
    Driver,
    JobCancelledError,
    Option,
    Program,
    Reading,
    Readout,
    StopToken,
    Telemetry,
    emulated,
)
from cim_hal.machine.lowering import max_level
from cim_hal.model.penalties import WeakenedPenalty, weakened_beside_a_spin, weakened_penalty
from emulator.dynamics.base import Dynamics, JobInputs
from emulator.dynamics.best_seen import BestSeen
from emulator.dynamics.spectrum import gain_factor
from emulator.kernel import CompilationTimer, compilation_timed
from emulator.noise import NoiseKey
from emulator.options import properties_of, units_of
from emulator.products.coupling import LARGE, CouplingMatrix
from emulator.recording import Recording, delivered, joined

if TYPE_CHECKING:
    from emulator.recording import BlockReadout, TraceFile, TraceWriter

__all__ = ["EmulatedCim", "algorithm", "entry_point"]

# Columns of a block: a matrix product reads J once for all of them.
BLOCK_RUNS = 64
VECTOR_RUNS = 16
ROUND_TRIPS_BETWEEN_POLLS = 8


class _ProgressCounter:
    """Counts the round trips of all blocks, and ends them when the job is cancelled."""

    def __init__(self, stop: StopToken, total: int) -> None:
        self._stop = stop
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def poll(self, round_trip: int) -> None:
        """Count the round trips since the last call; raise `JobCancelledError` if so asked."""
        if self._stop.is_set():
            raise JobCancelledError(
                f"cancelled at round trip {round_trip}", at_round_trip=round_trip
            )
        if round_trip:
            self.add(ROUND_TRIPS_BETWEEN_POLLS)

    def add(self, round_trips: int) -> None:
        """Count round trips of one block."""
        with self._lock:
            self._done += round_trips
            self._stop.progress(self._done, self._total)


class _RunCounters:
    """Counts jobs that ran to their end, and how fast the last one was."""

    def __init__(self) -> None:
        self._jobs = self._runs = 0
        self._busy_s = 0.0
        self._round_trips_per_s: float | None = None

    @contextmanager
    def counted(self, program: Program, compilation: CompilationTimer) -> Iterator[None]:
        """Count a job if it comes to its end."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started - compilation.seconds
        self._jobs += 1
        self._runs += program.n_runs
        self._busy_s += seconds
        self._round_trips_per_s = program.n_runs * program.schedule.round_trips / seconds

    def telemetry(self) -> Telemetry:
        """Return the counts; round trips of all runs together, per second of the last job."""
        readings = [
            Reading(name="jobs", value=self._jobs),
            Reading(name="runs", value=self._runs),
            Reading(name="busy", value=self._busy_s, unit="s"),
        ]
        if self._round_trips_per_s is not None:
            rate = Reading(name="round_trip_rate", value=self._round_trips_per_s, unit="1/s")
            readings.append(rate)
        return Telemetry(readings=tuple(readings))


def _map_in_threads(
    run_block: Callable[[int], BlockReadout], first_runs: Sequence[int], n_threads: int
) -> Iterator[BlockReadout]:
    """Yield blocks in their order, each run in one of some threads.

    The threads are daemons: a program that comes to its end does not wait for a run that nobody
    will read. Those of a `ThreadPoolExecutor` are joined at exit.
    """
    blocks: list[Future[BlockReadout]] = [Future() for _ in first_runs]
    left = deque(zip(blocks, first_runs, strict=True))

    def work() -> None:
        while True:
            try:
                block, first_run = left.popleft()
            except IndexError:
                return
            try:
                block.set_result(run_block(first_run))
            except BaseException as error:  # noqa: BLE001  raised again where it is read
                block.set_exception(error)

    threads = [Thread(target=work, daemon=True) for _ in range(min(n_threads, len(blocks)))]
    for thread in threads:
        thread.start()
    try:
        for block in blocks:
            yield block.result()
    finally:
        left.clear()
        for thread in threads:
            thread.join()


CouplingBits = Annotated[
    int | None,
    Option(
        low=2, high=16, unit="bits", description="Of a coupling; those of the machine if unset."
    ),
]
Threads = Annotated[
    int | None,
    Option(low=1, high=4096, unit="threads", description="The processors there are if unset."),
]


@emulated
class EmulatedCim(Driver):
    """A driver that solves the equations of a machine.

    Runs are split into blocks; a thread takes a block from vacuum to readout, and BLAS stays on
    that thread. Memory is J once, and a few arrays (n, 64) for each thread.

    The same program and seed give the same bits on the same computer and libraries, whatever
    the number of threads and however runs are grouped: run k of a job does not depend on how
    many runs the job has. Noise is a function of (seed, run, round trip, spin), and a product
    is either exact (integer codes), summed in fixed order (CSR), or computed in blocks of always
    64 columns (real numbers, dense).

    Parameters
    ----------
    dynamics : Dynamics
    capabilities : Capabilities
        What the machine says of itself; `has_field` must be that of `dynamics`. Properties and
        settings are read from the dynamics; properties given here are kept.
    trace_file : TraceFile, optional
        Where amplitudes are written during every job, whatever trace the job asks for.
    threads : int, optional
        The processors this process may use, by default, or fewer if ``OMP_NUM_THREADS`` says so.
    fits_gain : bool
        Whether the gain of `dynamics` is a default, which is strengthened for models whose
        spectrum demands it (`gain_factor`); one that a job sets is not.
    weakens_penalties : bool
        Whether a model of one strong penalty gets a weaker one and a fitted gain
        (`weakened_penalty`) where the best that a run has seen is read, unless a job sets the gain.

    Raises
    ------
    ValueError
        `capabilities` promise a field the dynamics lack, or there is no thread.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        *,
        capabilities: Capabilities,
        trace_file: TraceFile | None = None,
        threads: int | None = None,
        fits_gain: bool = False,
        weakens_penalties: bool = False,
    ) -> None:
        if capabilities.has_field and not dynamics.has_field:
            raise ValueError(f"{type(dynamics).__name__} has no field")
        self._dynamics = dynamics
        self._capabilities = _completed(capabilities, dynamics)
        self._trace_file, self._fits_gain = trace_file, fits_gain
        self._weakens_penalties = weakens_penalties
        self._threads = _processors() if threads is None else threads
        if self._threads < 1:
            raise ValueError(f"threads = {threads}: at least one is needed")
        self._counters = _RunCounters()

    def rebuilt(self, *, coupling_bits: int | None, threads: int | None) -> EmulatedCim:
        """Return the machine with other bits of a coupling or threads; None leaves what it has."""
        bits = {} if coupling_bits is None else {"coupling_bits": coupling_bits}
        return EmulatedCim(
            self._dynamics,
            capabilities=self._capabilities.model_copy(update=bits),
            trace_file=self._trace_file,
            threads=threads or self._threads,
            fits_gain=self._fits_gain,
            weakens_penalties=self._weakens_penalties,
        )

    def describe(self) -> Capabilities:
        """Return the capabilities given to the constructor, and what the dynamics say."""
        return self._capabilities

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program; amplitudes float32, shape (runs, n).

        Runs of blocks that are finished are delivered about four times a second.
        """
        limited = _blas().limit(limits=1, user_api="blas")
        with compilation_timed() as timer, self._counters.counted(program, timer), limited:
            inputs = self._inputs_of(program)
            choices = self._dynamics_of(program).choices(inputs)
            choices |= inputs.fitted()
            width = self._block_width(program.n_runs, inputs.coupling)
            first_runs = range(0, program.n_runs, width)
            counter = _ProgressCounter(stop, len(first_runs) * program.schedule.round_trips)
            with self._writer(program) as writer:
                run_block = partial(
                    self._run_block, program, counter, inputs, width=width, writer=writer
                )
                blocks = list(delivered(self._each(run_block, first_runs), program, stop))
        if timer.seconds:
            choices |= {"compile_s": timer.seconds}
        return joined(blocks, program, choices)

    def status(self) -> Telemetry:
        """Report what was done: jobs, runs, seconds, and how fast the last job was."""
        return self._counters.telemetry()

    def _each(
        self, run_block: Callable[[int], BlockReadout], first_runs: Sequence[int]
    ) -> Iterator[BlockReadout]:
        if min(self._threads, len(first_runs)) == 1:
            yield from map(run_block, first_runs)
            return
        yield from _map_in_threads(run_block, first_runs, self._threads)

    def _writer(self, program: Program) -> AbstractContextManager[TraceWriter | None]:
        return nullcontext() if self._trace_file is None else self._trace_file.opened(program)

    def _dynamics_of(self, program: Program) -> Dynamics:
        try:
            return _read_out(self._dynamics).with_settings(program.settings)
        except ValueError as error:  # each is in its range, but they do not go together
            wanted = ", ".join(f"{name} = {value:g}" for name, value in program.settings.items())
            raise CapabilityError(
                "settings", required=wanted, available="no such combination", hint=str(error)
            ) from error

    def _inputs_of(self, program: Program) -> JobInputs:
        dynamics = self._dynamics_of(program)
        _check_pump(program, dynamics)
        J = program.lowering.levels if program.n_spins > LARGE else program.coupling
        report = program.lowering.report
        prepare = partial(CouplingMatrix.of, field_spin=report.field_spin)
        applied = self._weakened(program) if dynamics.follows_energy else None
        given = prepare(
            *((J, program.field) if applied is None else applied[:2]),
            largest_code=dynamics.largest_code,
            dtype=dynamics.dtype,
        )
        is_fitted = (self._fits_gain or applied) and "coupling_gain" not in program.settings
        if is_fitted:
            given = given.strengthened(gain_factor(given, program.n_spins - report.field_spin))
        coupling = dynamics.perturb(given)
        signs = None
        if dynamics.follows_energy and (applied or not coupling.is_exact):
            signs = prepare(J, program.field, largest_code=1, dtype=np.float64)
        return JobInputs(
            coupling,
            NoiseKey.from_seed(program.seed),
            program.schedule.round_trips,
            signs,
            report.step * (applied.step if applied else 1.0),
            penalty_share=applied.share if applied else 1.0,
        )

    def _weakened(self, program: Program) -> WeakenedPenalty | None:
        """Return a model with a weaker penalty, where this machine and job want one."""
        is_dense = program.n_spins <= LARGE and isinstance(program.coupling, np.ndarray)
        is_wanted = self._weakens_penalties and "coupling_gain" not in program.settings
        if not (is_dense and is_wanted):
            return None
        has_field_spin = program.lowering.report.field_spin
        weaken = weakened_beside_a_spin if has_field_spin else weakened_penalty
        found, bits = weaken(program.coupling, program.field), program.lowering.report.bits
        return found if found is None or bits is None else found.rounded(max_level(bits))

    def _block_width(self, n_runs: int, coupling: CouplingMatrix) -> int:
        if coupling.depends_on_grouping:
            return BLOCK_RUNS
        share = -(-n_runs // self._threads)
        return min(BLOCK_RUNS, -(-share // VECTOR_RUNS) * VECTOR_RUNS)

    def _run_block(
        self,
        program: Program,
        counter: _ProgressCounter,
        inputs: JobInputs,
        first_run: int,
        *,
        width: int,
        writer: TraceWriter | None,
    ) -> BlockReadout:
        block = self._dynamics_of(program).start(inputs, first_run=first_run, n_runs=width)
        recording = Recording(program, first_run=first_run, width=width, writer=writer)
        for round_trip, pump in enumerate(program.schedule.sample()):
            if round_trip % ROUND_TRIPS_BETWEEN_POLLS == 0:
                counter.poll(round_trip)
            block.advance(float(pump))
            if round_trip + 1 in recording.frames_after:
                recording.take(round_trip + 1, block)
        counter.add((program.schedule.round_trips - 1) % ROUND_TRIPS_BETWEEN_POLLS + 1)
        return recording.finish(block)


def entry_point(make: Callable[[], EmulatedCim]) -> Callable[..., EmulatedCim]:
    """Return a factory of the machine that `make` makes, with the options that all have."""

    @emulated
    def factory(*, coupling_bits: CouplingBits = None, threads: Threads = None) -> EmulatedCim:
        return make().rebuilt(coupling_bits=coupling_bits, threads=threads)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(factory, name, getattr(make, name))
    return factory


# The schedule of an algorithm, from no pump to the threshold of a lone oscillator.
RAMP = (0.0, 1.0)
HIGHEST_PUMP = 4.0
ROUND_TRIPS = 2000
MAX_ROUND_TRIPS = 1_000_000


def algorithm(
    name: str,
    title: str,
    dynamics: Dynamics,
    *,
    pump: tuple[float, ...] = RAMP,
    highest_pump: float = HIGHEST_PUMP,
    round_trips: int = ROUND_TRIPS,
    fits_gain: bool = False,
    weakens_penalties: bool = True,
) -> EmulatedCim:
    """Return an algorithm as a machine: real couplings, a field, and the best a run has seen.

    The machine is called ``emulator-`` and the name; the title says what it is for. Pump and round
    trips are the recommended schedule, in thresholds; `highest_pump` ends the pump's range. For
    `fits_gain` and `weakens_penalties` see `EmulatedCim`.
    """
    capabilities = Capabilities(
        name=f"emulator-{name}",
        description=f"{title}.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        max_round_trips=MAX_ROUND_TRIPS,
        pump_range=(0.0, highest_pump),
        reports_amplitudes=True,
        reproducible=True,
        default_pump=pump,
        default_round_trips=round_trips,
    )
    return EmulatedCim(
        BestSeen(dynamics=dynamics),
        capabilities=capabilities,
        fits_gain=fits_gain,
        weakens_penalties=weakens_penalties,
    )


def _read_out(dynamics: Dynamics) -> BestSeen:
    """Return a dynamics of which a job may ask the best seen; its last is read by default."""
    return dynamics if isinstance(dynamics, BestSeen) else BestSeen(dynamics=dynamics, every=None)


def _completed(capabilities: Capabilities, dynamics: Dynamics) -> Capabilities:
    """Return capabilities with what can be read from the dynamics."""
    properties = properties_of(dynamics) | capabilities.properties
    units = units_of(dynamics) | capabilities.units
    if dynamics.linear_limit is not None:
        # that of a loop without feedback is minus infinity
        lowest = dynamics.linear_limit.lowest_stable
        properties["lowest_stable_eigenvalue"] = lowest if math.isfinite(lowest) else None
        units["lowest_stable_eigenvalue"] = "norms of a row of J"
    known = {
        "properties": properties,
        "units": units,
        "settings": _read_out(dynamics).settings(),
        "reports_trace": True,
    }
    return Capabilities(**(dict(capabilities) | known))


def _check_pump(program: Program, dynamics: Dynamics) -> None:
    """Refuse a pump that is in the range of the machine, but not with the settings of the job."""
    pump, largest = max(program.schedule.pump), dynamics.largest_pump
    if pump > largest:
        hint = "the crystal of so large a loss is not solved for more: lower the pump or the loss"
        available = f"up to {largest:.3g} with these settings"
        raise CapabilityError("pump_range", required=f"{pump:g}", available=available, hint=hint)


def _processors() -> int:
    """Return how many threads are to be had: processors, or what ``OMP_NUM_THREADS`` leaves."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    processors = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(processors, int(allowed)) if allowed.isdecimal() and int(allowed) else processors


@cache
def _blas() -> ThreadpoolController:
    # looking for the loaded libraries takes milliseconds: once per process
    return ThreadpoolController()
