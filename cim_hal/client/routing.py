"""Which machine of a pool gets a job: a pure function of what is known of them.

First those that can (capabilities), then the one with the least expected wait, to which the
upload counts unless the machine holds the couplings already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cim_hal.client.options import SampleOptions
from cim_hal.errors import CapabilityError, ModelError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.model.conversion import require
from cim_hal.model.ising import check_model
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.client.options import SampleKeywords
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.protocol.wire.messages import StatusReport

__all__ = [
    "JobRequest",
    "Load",
    "check_fits",
    "choose",
    "common_capabilities",
    "each",
    "misfit",
    "next_pair",
    "unavailability",
]

LOOKAHEAD = 16  # jobs among which one is looked for whose couplings a free machine holds
UPLOAD_BYTES_PER_S = 1e8  # a gigabit line; loopback is faster
MEMORY = 0.2  # weight of the newest job in the mean duration


@dataclass(eq=False)
class Load:
    """What a pool knows of one of its machines."""

    capabilities: Capabilities
    slots: int  # jobs that it is given at most at a time
    in_flight: int = 0  # jobs that it has
    job_s: float = 0.0  # mean seconds of a job, the newest counting most
    held: WeakSet[IsingModel] = field(default_factory=WeakSet)  # models that were sent to it
    is_alive: bool = True
    blocked: str = ""  # why it takes no jobs for now

    @property
    def is_in_service(self) -> bool:
        """Whether it takes jobs, one after another."""
        return self.is_alive and not self.blocked

    @property
    def is_free(self) -> bool:
        """Whether it takes another job now."""
        return self.is_in_service and self.in_flight < self.slots

    def took(self, seconds: float) -> None:
        """Take note of how long a job has taken."""
        per_job = seconds / max(self.in_flight, 1)
        self.job_s += (per_job - self.job_s) * (MEMORY if self.job_s else 1.0)

    def wait_s(self, model: IsingModel) -> float:
        """Return how long a job of `model` is expected to wait, its upload included."""
        upload_s = 0.0 if model in self.held else 8 * model.n_spins**2 / UPLOAD_BYTES_PER_S
        return self.in_flight * self.job_s + upload_s


@dataclass(eq=False)
class JobRequest:
    """A job that waits for a machine."""

    model: IsingModel
    schedule: PumpSchedule | None
    options: SampleKeywords
    passed: int = 0  # how often a later job went before it
    refusals: dict[Load, CapabilityError] = field(default_factory=dict)  # by machines, and why


def check_fits(request: JobRequest, capabilities: Capabilities) -> None:
    """Raise the `CapabilityError` that names why a machine cannot run a job."""
    model, options = request.model, SampleOptions.of(request.options)
    needs = model.n_spins + (bool(model.h.any()) and not capabilities.has_field)
    if needs > capabilities.max_spins:
        raise CapabilityError("max_spins", required=needs, available=capabilities.max_spins)
    bits, available = options.coupling_bits, capabilities.coupling_bits
    if bits is not None and available is not None and bits > available:
        raise CapabilityError("coupling_bits", required=bits, available=available)
    n_runs, trace = options.n_runs, options.trace
    capabilities.check_runs(n_runs)
    capabilities.check_settings(options.settings or {})
    schedule = request.schedule or capabilities.default_schedule
    capabilities.check_schedule(schedule)
    if trace is not None:
        capabilities.check_trace(
            trace, round_trips=schedule.round_trips, n_runs=n_runs, n_spins=model.n_spins
        )


def misfit(request: JobRequest, load: Load) -> CapabilityError | None:
    """Return why a machine may not have a job; None where it may."""
    if load in request.refusals:
        return request.refusals[load]
    try:
        check_fits(request, load.capabilities)
    except CapabilityError as error:
        return error
    return None


def choose(request: JobRequest, loads: Iterable[Load]) -> Load | None:
    """Return the machine a job should have; None where it had better wait for one."""
    able = [load for load in loads if load.is_in_service and not misfit(request, load)]
    best = min(able, key=lambda load: load.wait_s(request.model), default=None)
    if best is None or best.is_free:
        return best
    # The best is full. Another, free one is taken unless waiting for the best is shorter.
    free = [load for load in able if load.is_free and load.wait_s(request.model) <= best.job_s]
    return min(free, key=lambda load: load.wait_s(request.model), default=None)


def next_pair(
    requests: Sequence[JobRequest], loads: Sequence[Load]
) -> tuple[JobRequest, Load] | None:
    """Return the job that starts next, and where; None where none can.

    The oldest goes first, but for one of the first few whose couplings a free machine holds; no
    job is passed more often than that.
    """
    near = requests[:LOOKAHEAD]
    if near and near[0].passed < LOOKAHEAD:
        for request in near:
            holders = [x for x in loads if _is_home(request, x)]
            if holders:
                for passed in near[: near.index(request)]:
                    passed.passed += 1
                return request, min(holders, key=lambda load: load.wait_s(request.model))
    for request in near:
        load = choose(request, loads)
        if load is not None:
            return request, load
    return None


def _is_home(request: JobRequest, load: Load) -> bool:
    return load.is_free and request.model in load.held and not misfit(request, load)


def common_capabilities(machines: Sequence[Capabilities]) -> Capabilities:
    """Return what every one of some machines can do; a job that fits it fits each of them."""
    first = machines[0]
    if all(machine == first for machine in machines):
        return first
    bits = [m.coupling_bits for m in machines if m.coupling_bits is not None]
    field_bits = [m.field_bits for m in machines if m.field_bits is not None]
    round_trips = min(m.max_round_trips for m in machines)
    low, high = max(m.pump_range[0] for m in machines), min(m.pump_range[1] for m in machines)
    if low > high:
        raise CapabilityError("pump_range", required="one in common", available="none")
    names = sorted({machine.name for machine in machines})
    return Capabilities(
        name=counted(len(machines), "machine"),
        description=", ".join(names)[:1000],
        max_spins=min(m.max_spins for m in machines),
        coupling_bits=min(bits, default=None),
        field_bits=min(field_bits, default=None),
        has_field=all(m.has_field for m in machines),
        max_round_trips=round_trips,
        max_runs=min(m.max_runs for m in machines),
        pump_range=(low, high),
        reports_amplitudes=all(m.reports_amplitudes for m in machines),
        default_pump=tuple(min(max(pump, low), high) for pump in first.default_pump),
        default_round_trips=min(first.default_round_trips, round_trips),
        properties=_shared(first.properties, [m.properties for m in machines]),
        units=_shared(first.units, [m.units for m in machines]),
        settings=tuple(s for s in first.settings if all(s in m.settings for m in machines)),
        reports_trace=all(m.reports_trace for m in machines),
        needs_calibration=any(m.needs_calibration for m in machines),
    )


def _shared(first: Any, others: list[Any]) -> dict[str, Any]:
    missing = object()
    return {k: v for k, v in first.items() if all(o.get(k, missing) == v for o in others)}


def unavailability(report: StatusReport, epoch: int) -> str:
    """Return why a machine takes no jobs of a session with `epoch`; empty if it takes them."""
    if report.stop is not None:
        return f"{report.stop.by} stopped it"
    if report.lock is not None and report.lock.epoch != epoch:
        return f"{report.lock.holder} locked it"
    telemetry = report.machine and report.machine.telemetry
    if telemetry and telemetry.open_interlocks:
        return f"{', '.join(telemetry.open_interlocks)}: open"
    return ""


def each(
    models: Iterable[IsingModel], seeds: Iterable[int] | None, options: Mapping[str, Any]
) -> Iterator[tuple[IsingModel, Any]]:
    """Yield models with the options of each.

    `ModelError` where there are not as many seeds, or one of them is no model.
    """
    require("models", models, Iterable, ModelError, hint="pass a list of models")
    models = list(models)
    for model in models:
        check_model(model)
    if seeds is None:
        return ((model, options) for model in models)
    require("seeds", seeds, Iterable, ModelError, hint="pass a list of integers")
    seeds = list(seeds)
    if len(models) != len(seeds):
        raise ModelError(
            f"{counted(len(models), 'model')} and {counted(len(seeds), 'seed')}",
            hint="one seed for each",
        )
    return ((m, {**options, "seed": seed}) for m, seed in zip(models, seeds, strict=True))
