"""Programs of jobs from their requests, and run records from their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import CapabilityError
from cim_hal.machine.driver import Program
from cim_hal.model.record import RunRecord
from cim_hal.model.schedule import PumpSchedule, TraceRequest
from cim_hal.protocol.wire.results import result_bytes

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages import Sample
    from cim_hal.protocol.wire.results import Result

__all__ = ["program_of", "record_of"]


def program_of(
    sample: Sample, lowering: Lowering, capabilities: Capabilities, limits: Limits
) -> Program:
    """Return the program of a request.

    Raises
    ------
    ScheduleError
        Its schedule is malformed.
    CapabilityError
        It is more than the machine has, or its result more than the server keeps.
    """
    schedule = capabilities.default_schedule
    if sample.schedule is not None:
        schedule = PumpSchedule(sample.schedule.pump, sample.schedule.round_trips)
    trace = sample.trace and TraceRequest(sample.trace.every, sample.trace.runs)
    capabilities.check_schedule(schedule)
    capabilities.check_runs(sample.n_runs)
    capabilities.check_settings(sample.settings)
    program = Program(lowering, schedule, sample.n_runs, sample.seed, sample.settings, trace)
    _check_result(program, capabilities, limits)
    return program


def record_of(job: JobEntry, result: Result, device: str) -> RunRecord:
    """Return the provenance of what a job measured on `device`."""
    return RunRecord(
        device=device,
        job=job.id,
        coupling=job.request.coupling.digest,
        seed=job.request.seed,
        round_trips=job.schedule.round_trips,
        device_s=result.device_s,
        lowering=job.report,
        pump=job.schedule.pump,
        settings=job.request.settings,
        notes=dict(result.notes),
        calibration=result.calibration,
    )


def _check_result(program: Program, capabilities: Capabilities, limits: Limits) -> None:
    size = program.n_runs, program.n_spins - program.lowering.report.field_spin
    round_trips = program.schedule.round_trips
    needs = result_bytes(*size, amplitudes=capabilities.reports_amplitudes)
    if program.trace is not None:
        capabilities.check_trace(
            program.trace, round_trips=round_trips, n_runs=size[0], n_spins=size[1]
        )
        needs += program.trace.n_bytes(round_trips, *size)
    if needs > limits.result_bytes:
        raise CapabilityError(
            "result_bytes",
            required=needs,
            available=limits.result_bytes,
            hint="ask for fewer runs in a job",
        )
