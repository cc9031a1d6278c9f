"""Checks of what a machine claims beyond samples: seeds, amplitudes, cancelling, settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.conformance.basic import ring, short
from cim_hal.conformance.sampling import glass
from cim_hal.conformance.verdict import CheckFailed, NotApplicable, require
from cim_hal.errors import CapabilityError, CimError, JobCancelledError
from cim_hal.model.schedule import PumpSchedule, TraceRequest
from cim_hal.protocol.jobs.state import JobState

if TYPE_CHECKING:
    from cim_hal.client.job import Job
    from cim_hal.conformance.machine_under_test import MachineUnderTest
    from cim_hal.model.sampleset import SampleSet

__all__ = [
    "amplitudes",
    "cancelling",
    "other_seeds",
    "same_seed",
    "settings",
    "telemetry",
    "traces",
]

TIMED_S = 0.3  # a job of this length is long enough to predict others
LEAST_S = 0.5  # a shorter job may end before it is cancelled
RUNS = 16


def same_seed(machine: MachineUnderTest) -> None:
    """Check that the same program and seed give the same samples, also after another job."""
    _only_reproducible(machine)
    first = _seeded(machine, machine.seed)
    require(_equal(first, _seeded(machine, machine.seed)), "the same job gave other samples")
    machine.sample(ring(min(4, machine.capabilities.max_spins)), n_runs=3)
    again = _seeded(machine, machine.seed)
    require(_equal(first, again), "the same job gave other samples after another job")


def other_seeds(machine: MachineUnderTest) -> None:
    """Check that other seeds give other samples."""
    _only_reproducible(machine)
    if machine.capabilities.max_spins < 8:
        raise NotApplicable("with fewer than 8 spins samples may agree by chance")
    model = ring(8)
    sets = [machine.sample(model, n_runs=RUNS, seed=machine.seed + k) for k in range(4)]
    same = all(_equal(sets[0], other) for other in sets[1:])
    require(not same, "four seeds gave the same samples")


def amplitudes(machine: MachineUnderTest) -> None:
    """Check that the signs of the amplitudes are the spins."""
    samples = machine.sample(ring(min(8, machine.capabilities.max_spins)), n_runs=RUNS)
    if not machine.capabilities.reports_amplitudes:
        require(samples.amplitudes is None, "amplitudes came that were not announced")
        raise NotApplicable("the machine reports none")
    if samples.amplitudes is None:
        raise CheckFailed("the machine reports amplitudes, and none came")
    require(bool(np.isfinite(samples.amplitudes).all()), "some are not finite")
    signs = np.where(samples.amplitudes < 0, -1, 1)
    require(np.array_equal(signs, samples.spins), "the signs of some are not the spins")


def traces(machine: MachineUnderTest) -> str:
    """Check that a trace is of the runs asked for."""
    if not machine.capabilities.reports_trace:
        raise NotApplicable("the machine keeps none")
    schedule = short(machine)
    every = max(schedule.round_trips // 10, 1)
    request = TraceRequest(every=every, runs=2)
    model = ring(min(8, machine.capabilities.max_spins))
    trace = machine.sample(model, n_runs=4, schedule=schedule, trace=request).trace
    if trace is None:
        raise CheckFailed("none came")
    require(trace.n_runs == 2, f"it is of {trace.n_runs} runs, 2 were asked for")
    return f"{len(trace)} frames in {schedule.round_trips} round trips"


def cancelling(machine: MachineUnderTest) -> str:
    """Check that a running job that is cancelled ends soon, and the machine goes on."""
    job = _long_job(machine)
    began = time.monotonic()
    job.cancel(timeout_s=machine.timeout_s)
    try:
        job.result(timeout_s=machine.timeout_s)
    except JobCancelledError:
        took = time.monotonic() - began
    except CimError as error:
        raise CheckFailed(f"a cancelled job ended with {error.code}: {error}") from error
    else:
        raise NotApplicable("the job was over before it could be cancelled")
    require(
        took < machine.cancel_s, f"it took {took:.1f} s to end, {machine.cancel_s:g} are allowed"
    )
    machine.sample(ring(min(4, machine.capabilities.max_spins)), n_runs=1, schedule=short(machine))
    return f"over after {took:.2f} s"


def settings(machine: MachineUnderTest) -> str:
    """Check that each setting takes both ends of its range, and nothing beyond."""
    known = machine.capabilities.settings
    if not known:
        raise NotApplicable("the machine has none")
    model, schedule = ring(min(4, machine.capabilities.max_spins)), short(machine)
    for setting in known:
        for value in (setting.low, setting.high):
            machine.sample(model, n_runs=1, schedule=schedule, settings={setting.name: value})
            beyond = value - 1 if value == setting.low else value + 1
            try:
                machine.sample(model, n_runs=1, schedule=schedule, settings={setting.name: beyond})
            except CapabilityError:
                continue
            raise CheckFailed(f"{setting.name} took {beyond:g}, beyond its range {setting.range}")
    return f"{len(known)} settings"


def telemetry(machine: MachineUnderTest) -> str:
    """Check that readings keep their names and units, and that interlocks are closed."""
    model, schedule = ring(min(4, machine.capabilities.max_spins)), short(machine)
    seen = []
    for _ in range(2):
        machine.sample(model, n_runs=1, schedule=schedule)  # before a run, telemetry is fresh
        seen.append(machine.session.telemetry().telemetry)
    first, again = seen
    if first is None or again is None or first.is_empty:
        raise NotApplicable("the machine reports none")
    require(not first.open_interlocks, f"these interlocks are open: {first.open_interlocks}")
    units = [{each.name: each.unit for each in one.readings} for one in (first, again)]
    require(units[0] == units[1], f"readings were {units[0]} and then {units[1]}")
    return f"{len(first.readings)} readings, {len(first.interlocks)} interlocks"


def _only_reproducible(machine: MachineUnderTest) -> None:
    if not machine.capabilities.reproducible:
        raise NotApplicable("the machine does not call itself reproducible")


def _seeded(machine: MachineUnderTest, seed: int) -> SampleSet:
    n = min(8, machine.capabilities.max_spins)
    model = glass(machine, n, 9)[0] if n > 2 else ring(n)
    return machine.sample(model, n_runs=RUNS, seed=seed)


def _equal(first: SampleSet, second: SampleSet) -> bool:
    if first.amplitudes is None or second.amplitudes is None:
        return np.array_equal(first.spins, second.spins)
    return np.array_equal(first.amplitudes, second.amplitudes)


def _long_job(machine: MachineUnderTest) -> Job:
    """Return a running job that would take three times as long as cancelling may take."""
    can, seconds = machine.capabilities, 0.0
    n_runs, round_trips = 1, min(1000, can.max_round_trips)
    while seconds < TIMED_S:
        began = time.monotonic()
        _submitted(machine, n_runs, round_trips).result(timeout_s=machine.timeout_s)
        seconds = time.monotonic() - began
        if n_runs == can.max_runs and round_trips == can.max_round_trips:
            break
        if seconds < TIMED_S:
            n_runs = min(4 * n_runs, can.max_runs)
            round_trips = min(4 * round_trips, can.max_round_trips)
    wanted = 3 * machine.cancel_s / seconds
    longer = min(wanted, can.max_round_trips / round_trips)
    round_trips = int(longer * round_trips)
    more = min(wanted / longer, can.max_runs / n_runs)
    n_runs = int(more * n_runs)
    if longer * more * seconds < LEAST_S:
        raise NotApplicable(f"the longest job takes less than {LEAST_S:g} s")
    job = _submitted(machine, n_runs, round_trips)
    until = time.monotonic() + machine.timeout_s
    while job.state is JobState.QUEUED and time.monotonic() < until:
        job.wait(timeout_s=0.05)
    return job


def _submitted(machine: MachineUnderTest, n_runs: int, round_trips: int) -> Job:
    can = machine.capabilities
    schedule = PumpSchedule(can.default_schedule.pump, round_trips)
    model = ring(min(can.max_spins, 1000))
    return machine.session.submit(model, schedule, n_runs=n_runs, seed=machine.seed, keep=False)
