"""Checks of what a machine promises: limits, refusals, seeds, amplitudes, cancelling, settings."""

from __future__ import annotations

import time
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cim_hal.conformance.machine_under_test import CheckFailed, NotApplicable, require
from cim_hal.conformance.sampling import glass
from cim_hal.errors import CapabilityError, CimError, JobCancelledError
from cim_hal.model.ising import IsingModel
from cim_hal.model.sampleset import SampleSet
from cim_hal.model.schedule import PumpSchedule, TraceRequest
from cim_hal.protocol.jobs.state import JobState
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.client.job import Job
    from cim_hal.conformance.machine_under_test import MachineUnderTest

__all__ = [
    "amplitudes",
    "cancelling",
    "constant_description",
    "deliveries",
    "fresh_readouts",
    "largest_program",
    "many_runs",
    "other_seeds",
    "refusals",
    "same_seed",
    "schedules",
    "settings",
    "smallest_program",
    "telemetry",
    "traces",
    "unplugging",
]

MANY_RUNS = 1000
SHORT = 100  # round trips, where only the shape of the result matters
TIMED_S = 0.3  # a job of this length is long enough to predict others
DELIVERED_S = 2.0  # a job of this length has delivered runs before its end
REFUSED_S = 10.0  # for a job that cannot be done
LEAST_S = 0.5  # a shorter job may end before it is cancelled
RUNS = 16
FRESH_SPINS = 8
POLL_S = 0.1


def ring(n_spins: int) -> IsingModel:
    """Return a ferromagnetic ring, a pair, or a single spin."""
    here = np.arange(n_spins)
    there = (here + 1) % n_spins
    pairs = sp.coo_array((np.ones(n_spins), (here, there)), shape=(n_spins, n_spins))
    J = sp.csr_array(sp.triu(pairs + pairs.T, k=1) > 0).astype(float)
    return IsingModel.from_couplings(sp.csr_array(J + J.T))


def short(machine: MachineUnderTest) -> PumpSchedule:
    """Return the recommended schedule with fewer round trips."""
    schedule = machine.capabilities.default_schedule
    return schedule.stretched(min(SHORT, schedule.round_trips))


def constant_description(machine: MachineUnderTest) -> str:
    """Check that the description is the same each time."""
    first = machine.capabilities
    for _ in range(3):
        again = machine.session.describe().capabilities
        changed = [name for name, value in first if getattr(again, name) != value]
        require(not changed, f"these fields changed from one call to the next: {changed}")
    bits = "real" if first.coupling_bits is None else f"{first.coupling_bits}-bit"
    return f"{first.name}: {counted(first.max_spins, 'spin')}, {bits} couplings"


def smallest_program(machine: MachineUnderTest) -> None:
    """Check that one spin and two spins can be run."""
    for n_spins in (1, 2):
        if n_spins <= machine.capabilities.max_spins:
            _shape(machine, n_spins, 1)


def largest_program(machine: MachineUnderTest) -> str:
    """Check that all spins there are can be run."""
    n_spins = machine.capabilities.max_spins
    _shape(machine, n_spins, 1)
    return counted(n_spins, "spin")


def many_runs(machine: MachineUnderTest) -> str:
    """Check that a job can have as many runs as are announced, up to a thousand."""
    n_runs = min(machine.capabilities.max_runs, MANY_RUNS)
    _shape(machine, machine.spins(4), n_runs)
    return counted(n_runs, "run")


def schedules(machine: MachineUnderTest) -> None:
    """Check that the ends of the pump's range, one round trip and many knots can be run."""
    low, high = machine.capabilities.pump_range
    model = ring(machine.spins(4))
    n = min(SHORT, machine.capabilities.max_round_trips)
    middle = 0.5 * (low + high)
    for schedule in (
        PumpSchedule.constant(low, round_trips=n),
        PumpSchedule.constant(high, round_trips=n),
        PumpSchedule.constant(middle, round_trips=1),
        PumpSchedule(tuple(np.linspace(low, high, 64)), n),
    ):
        samples = machine.sample(model, n_runs=2, schedule=schedule)
        require(len(samples) == 2, f"{len(samples)} of 2 runs came back with {schedule}")


def refusals(machine: MachineUnderTest) -> None:
    """Check that what is beyond the capabilities is refused, and the machine goes on."""
    can, model = machine.capabilities, ring(machine.spins(4))
    beyond: dict[str, dict[str, Any]] = {
        "max_spins": {"model": ring(can.max_spins + 1)},
        "max_runs": {"n_runs": can.max_runs + 1},
        "pump_range": {"schedule": PumpSchedule.constant(can.pump_range[1] + 1.0, round_trips=1)},
    }
    if can.coupling_bits is not None and can.coupling_bits < 16:
        beyond["coupling_bits"] = {"coupling_bits": can.coupling_bits + 1}
    for what, change in beyond.items():
        arguments = {"model": model, "n_runs": 1, "seed": 0} | change
        try:
            machine.session.sample(timeout_s=machine.timeout_s, **arguments)
        except CapabilityError as error:
            refused = error.details["what"]
            require(refused == what, f"beyond {what} it refused {refused}")
        else:
            raise CheckFailed(f"more than {what} was taken")
    _shape(machine, model.n_spins, 1)


def same_seed(machine: MachineUnderTest) -> None:
    """Check that the same program and seed give the same samples, also after another job."""
    _only_reproducible(machine)
    n_spins = machine.spins(8)
    model = glass(machine, n_spins, 9)[0] if n_spins > 2 else ring(n_spins)
    first = machine.sample(model, n_runs=RUNS)
    require(_equal(first, machine.sample(model, n_runs=RUNS)), "the same job gave other samples")
    machine.sample(ring(machine.spins(4)), n_runs=3)
    again = machine.sample(model, n_runs=RUNS)
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


def fresh_readouts(machine: MachineUnderTest) -> None:
    """Check that no job comes back with the readout of the job before."""
    n_spins = machine.spins(FRESH_SPINS, least=FRESH_SPINS)
    same = ring(n_spins)
    opposed = IsingModel(-same.J, same.h)
    before: list[bytes] = []
    for job, model in enumerate([same, opposed] * 3):
        samples = machine.sample(model, n_runs=RUNS, seed=machine.seed + job)
        rows = samples.spins if samples.amplitudes is None else samples.amplitudes
        found = sorted(row.tobytes() for row in rows)  # samples are ranked
        require(found != before, f"job {job} of another model has the readout of the job before")
        before = found


def amplitudes(machine: MachineUnderTest) -> None:
    """Check that the signs of the amplitudes are the spins."""
    samples = machine.sample(ring(machine.spins(8)), n_runs=RUNS)
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
    model = ring(machine.spins(8))
    trace = machine.sample(model, n_runs=4, schedule=schedule, trace=request).trace
    if trace is None:
        raise CheckFailed("none came")
    require(trace.n_runs == 2, f"it is of {counted(trace.n_runs, 'run')}, 2 were asked for")
    return f"{counted(len(trace), 'frame')} in {counted(schedule.round_trips, 'round trip')}"


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
    _short_job(machine)
    return f"over after {took:.2f} s"


def settings(machine: MachineUnderTest) -> str:
    """Check that each setting takes both ends of its range, and nothing beyond."""
    known = machine.capabilities.settings
    if not known:
        raise NotApplicable("the machine has none")
    for setting in known:
        for value, beyond in ((setting.low, setting.low - 1), (setting.high, setting.high + 1)):
            _short_job(machine, settings={setting.name: value})
            try:
                _short_job(machine, settings={setting.name: beyond})
            except CapabilityError:
                continue
            raise CheckFailed(f"{setting.name} took {beyond:g}, beyond its range {setting.range}")
    return counted(len(known), "setting")


def telemetry(machine: MachineUnderTest) -> str:
    """Check that readings keep their names and units, and that interlocks are closed."""
    seen = []
    for _ in range(2):
        _short_job(machine)  # before a run, telemetry is fresh
        seen.append(machine.session.telemetry().telemetry)
    first, again = seen
    if first is None or again is None or first.is_empty:
        raise NotApplicable("the machine reports none")
    require(not first.open_interlocks, f"these interlocks are open: {first.open_interlocks}")
    units = [{each.name: each.unit for each in one.readings} for one in (first, again)]
    require(units[0] == units[1], f"readings were {units[0]} and then {units[1]}")
    return f"readings: {len(first.readings)}, interlocks: {len(first.interlocks)}"


def deliveries(machine: MachineUnderTest) -> str:
    """Check that runs which are delivered early are those of the result, in order and number."""
    can, n_runs, seconds = machine.capabilities, 0, 0.0
    while seconds < DELIVERED_S and n_runs < can.max_runs:
        n_runs = min(max(4 * n_runs, RUNS), can.max_runs)
        began = time.monotonic()
        job = _submitted(machine, n_runs, can.default_schedule.round_trips)
        parts = list(job.batches(timeout_s=machine.timeout_s))
        seconds = time.monotonic() - began
        if len(parts) > 1:
            joined, whole = reduce(SampleSet.concat, parts), job.result(timeout_s=machine.timeout_s)
            require(
                len(joined) == n_runs, f"{len(joined)} of {counted(n_runs, 'run')} were delivered"
            )
            require(_equal(joined, whole), "the runs that were delivered are not those of the end")
            return f"{counted(n_runs, 'run')} in {counted(len(parts), 'part')}"
    raise NotApplicable("it delivers no runs before the end")


def unplugging(machine: MachineUnderTest) -> str:
    """Check that no job has a result while the machine is unplugged, and that it comes back."""
    if machine.cable is None:
        raise NotApplicable("nothing was given that unplugs it")
    _short_job(machine)
    began = time.monotonic()
    machine.cable.unplug()
    try:
        _wait_for_refusal(machine)
        driver = machine.session.telemetry().driver
        while driver.phase == "ready" and time.monotonic() < began + machine.timeout_s:
            time.sleep(POLL_S)
            driver = machine.session.telemetry().driver
        require(driver.phase != "ready", "its driver calls itself ready while it is unplugged")
        require(bool(driver.fault), "the status does not say what is wrong")
        broken_s = time.monotonic() - began
    finally:
        machine.cable.plug()
    return f"broken after {broken_s:.1f} s, back after {_back_after(machine):.1f} s"


def _wait_for_refusal(machine: MachineUnderTest) -> None:
    try:
        _short_job(machine, timeout_s=REFUSED_S)
    except CimError:
        return
    raise CheckFailed("a job ended with samples while the machine was unplugged")


def _back_after(machine: MachineUnderTest) -> float:
    began = time.monotonic()
    while True:
        try:
            _short_job(machine, timeout_s=REFUSED_S)
        except CimError as error:
            if time.monotonic() > began + machine.timeout_s:
                raise CheckFailed(f"it did not come back: {error}") from error
            time.sleep(POLL_S)
        else:
            return time.monotonic() - began


def _short_job(machine: MachineUnderTest, **options: Any) -> None:
    machine.sample(ring(machine.spins(4)), n_runs=1, schedule=short(machine), **options)


def _only_reproducible(machine: MachineUnderTest) -> None:
    if not machine.capabilities.reproducible:
        raise NotApplicable("the machine does not call itself reproducible")


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


def _shape(machine: MachineUnderTest, n_spins: int, n_runs: int) -> None:
    model = ring(n_spins)
    samples = machine.sample(model, n_runs=n_runs, schedule=short(machine))
    shape = samples.spins.shape
    require(shape == (n_runs, n_spins), f"the spins have shape {shape}, not {(n_runs, n_spins)}")
    require(bool((np.abs(samples.spins) == 1).all()), "there are spins other than -1 and +1")
    energies = model.energy(samples.spins)
    require(bool(np.allclose(energies, samples.energies)), "energies are not those of the spins")
