"""One submission, as a server knows it while its result is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cim_hal.errors import CapabilityError, CimError, DeviceRestartedError, JobCancelledError
from cim_hal.machine.driver import Program
from cim_hal.model.record import RunRecord
from cim_hal.model.schedule import PumpSchedule, TraceRequest
from cim_hal.protocol.jobs.records import Ended
from cim_hal.protocol.jobs.state import TERMINAL, JobEvent, JobState, after
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.jobs import JobInfo, JobStatus
from cim_hal.protocol.wire.results import Result, result_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import Detail
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.protocol.effects import Asked, Effect
    from cim_hal.protocol.jobs.records import Accepted
    from cim_hal.protocol.wire.base import ErrorMessage
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.jobs import Progress, Sample
    from cim_hal.protocol.wire.roles import User

__all__ = ["JobEntry", "JobSize", "Waiter", "expected_bytes", "program_of"]


@dataclass(frozen=True)
class JobSize:
    """What a job asks of a machine: spins of the machine, runs, and round trips of each."""

    n_spins: int
    n_runs: int
    round_trips: int


@dataclass(frozen=True, eq=False)
class Waiter:
    """A peer that waits for news of a job, or, where `since` is 0, for its end.

    With `events` it waits for the end, and is told the news meanwhile. Of a job with a result the
    answer is what `fetch` makes of it, where that is given.
    """

    asked: Asked
    since: int
    deadline: float
    events: bool = False
    fetch: Callable[[JobEntry, Result], list[Effect]] | None = None

    def answer(self, job: JobEntry) -> list[Effect]:
        """Return the answer, with the job as it is now."""
        if self.fetch is not None and job.state is JobState.DONE and job.result is not None:
            return self.fetch(job, job.result)
        return [self.asked.reply(job.status())]

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What a request is known by when it is sent again."""
        return self.asked.peer, self.asked.packet.id

    @property
    def hears_news(self) -> bool:
        """Whether it is told anything before the end."""
        return self.events or self.since > 0

    def is_due(self, job: JobEntry, now: float) -> bool:
        """Return whether the answer is to be given."""
        has_news = 0 < self.since < job.seq and not self.events
        return job.has_ended or has_news or self.deadline <= now


@dataclass(eq=False)
class JobEntry:
    """One submission.

    After a restart `program` is None until the couplings are lowered again. It is dropped when the
    job starts, because it holds the couplings.
    """

    accepted: Accepted
    session: str  # the one it goes with; empty where it is kept for its user
    program: Program | None
    # Of the lock under which it was submitted; a lock does not outlive its server.
    epoch: int = 0
    state: JobState = JobState.QUEUED
    result: Result | None = None  # the runs delivered so far, all of them once it is done
    error: ErrorMessage | None = None
    reason: CimError | None = None  # why it is to end, where its user did not ask for it
    is_moving: bool = False  # its next move is being written: until then no other is begun
    started_at: float = 0.0
    ended_at: float = 0.0
    seq: int = 0  # grows with each change of state or progress, and with each delivery
    progress: Progress | None = None
    expects: int = 0  # bytes of the result that it may have
    has_rows_fetched: bool = False  # all of them, by somebody
    has_trace_fetched: bool = False
    # Who waits, by peer and request; those who are told of changes before the end are listeners.
    waiters: dict[tuple[bytes, bytes], Waiter] = field(default_factory=dict)
    listeners: dict[tuple[bytes, bytes], None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Identifier; see `job_id`."""
        return self.accepted.job

    @property
    def user(self) -> User:
        """Who submitted it, and may see it."""
        return self.accepted.user

    @property
    def owner(self) -> str:
        """Name of the user who submitted it."""
        return self.accepted.user.name

    @property
    def digest(self) -> bytes:
        """What tells its request from others with the same key; see `body_digest`."""
        return self.accepted.digest

    @property
    def cursor(self) -> str:
        """Its place in lists, which are sorted by it: 32 hexadecimal digits, the oldest first."""
        return f"{round(self.accepted.at * 1e6):016x}{self.id[:16]}"

    @property
    def by_end(self) -> tuple[float, float, str]:
        """Its place among the jobs that have ended, the first one first."""
        return self.ended_at, self.accepted.at, self.id

    @property
    def is_fetched(self) -> bool:
        """Whether somebody has fetched all of its result."""
        has_trace = self.result is not None and self.result.trace is not None
        return self.has_rows_fetched and (self.has_trace_fetched or not has_trace)

    @property
    def request(self) -> Sample:
        """What was asked for."""
        return self.accepted.request

    @property
    def has_ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in TERMINAL

    @property
    def work(self) -> JobSize:
        """Its size, from which its run time is estimated."""
        accepted = self.accepted
        n_spins, round_trips = accepted.report.machine_spins, accepted.schedule.round_trips
        return JobSize(n_spins, self.request.n_runs, round_trips)

    @property
    def n_bytes(self) -> int:
        """Bytes of its result, or of what there is of it."""
        return self.result.n_bytes if self.result is not None else 0

    @property
    def reached(self) -> Progress | None:
        """How far it is: all of it once it is done, for the last report may come too late."""
        if self.progress is None or self.state is not JobState.DONE:
            return self.progress
        return self.progress.model_copy(update={"done": self.progress.total})

    def status(self) -> JobStatus:
        """Return the message that says where the job is."""
        return JobStatus(
            job=self.id,
            state=self.state,
            error=self.error,
            seq=self.seq,
            progress=self.reached,
            ready=len(self.result.spins) if self.result is not None else 0,
        )

    def end(self, outcome: Result | CimError, now: float, following: str = "") -> Ended:
        """Return the record of its end, where it had the machine, which made `outcome` of it.

        The job that has the machine next is `following`, if there is one. Nothing is kept of a job
        that is not done, unless runs were delivered before.
        """
        state = after(self.state, _event_of(outcome))
        result, error = (outcome, None) if isinstance(outcome, Result) else (None, outcome)
        if state is JobState.CANCELLED and result is not None:
            error = self.cancelled()
        if self.reason is not None:  # whatever the machine made of it
            error = self.reason
        delivered = self.result
        if error is not None and delivered is None:
            result = None
        error_message = error and to_wire(error)
        return Ended(self.id, state, error_message, result or delivered, now, following)

    def end_restarted(self, now: float) -> Ended:
        """Return the record of its end, where it was running when its server ended."""
        error = DeviceRestartedError(
            "the server was restarted while the job ran",
            hint="it is not run again by itself: submit it with a new key",
            job=self.id,
        )
        return Ended(self.id, JobState.FAILED, to_wire(error), None, now)

    def cancelled(self) -> JobCancelledError:
        """Return the error of a job that its user ended."""
        return JobCancelledError("the job was cancelled", job=self.id)

    def facts(self) -> dict[str, Detail]:
        """Return what the log says when the job is accepted."""
        return {
            "job": self.id,
            "session": self.session[-8:],
            "coupling": self.request.coupling.digest,
            **vars(self.work),
        }

    def end_facts(self) -> dict[str, Detail]:
        """Return what the log says when the job has ended: how, and why."""
        facts: dict[str, Detail] = {"job": self.id, "state": self.state.value}
        if self.error is not None:
            return facts | {"reason": self.error.code, "message": self.error.message}
        if self.result is not None:
            facts |= {"device_s": round(self.result.device_s, 6)}
        return facts

    def record(self, result: Result, device: str) -> RunRecord:
        """Return the provenance of what it measured on `device`."""
        return RunRecord(
            device=device,
            job=self.id,
            coupling=self.request.coupling.digest,
            seed=self.request.seed,
            round_trips=self.accepted.schedule.round_trips,
            device_s=result.device_s,
            lowering=self.accepted.report,
            pump=self.accepted.schedule.pump,
            settings=self.request.settings,
            notes=dict(result.notes),
            calibration=result.calibration,
        )

    def info(self, now: float) -> JobInfo:
        """Return its row in a list of jobs."""
        return JobInfo(
            job=self.id,
            state=self.state,
            owner=self.user.name[:100],
            coupling=self.request.coupling,
            n_runs=self.request.n_runs,
            seed=self.request.seed,
            has_trace=self.request.trace is not None,
            keep=not self.session,
            age_s=max(now - self.accepted.at, 0.0),
            n_bytes=self.n_bytes,
            progress=self.reached,
            reason=self.error.code if self.error is not None else "",
        )


def _event_of(outcome: Result | CimError) -> JobEvent:
    if isinstance(outcome, Result):
        return JobEvent.MEASURE
    return JobEvent.STOPPED if isinstance(outcome, JobCancelledError) else JobEvent.FAULT


def program_of(
    sample: Sample, lowering: Lowering, capabilities: Capabilities, limits: Limits
) -> Program:
    """Return the program of a request.

    `CapabilityError` if it is more than the machine has, or its result more than the server keeps.
    """
    schedule = capabilities.default_schedule
    if sample.schedule is not None:
        schedule = PumpSchedule(sample.schedule.pump, sample.schedule.round_trips)
    trace = sample.trace and TraceRequest(sample.trace.every, sample.trace.runs)
    capabilities.check_schedule(schedule)
    capabilities.check_runs(sample.n_runs)
    capabilities.check_settings(sample.settings)
    settings = capabilities.completed(sample.settings)
    program = Program(lowering, schedule, sample.n_runs, sample.seed, settings, trace)
    _check_result(program, capabilities, limits)
    return program


def expected_bytes(program: Program, capabilities: Capabilities) -> int:
    """Return the bytes of the result of a program, with its trace."""
    size = program.n_runs, program.n_spins - program.lowering.report.field_spin
    n_bytes = result_bytes(*size, amplitudes=capabilities.reports_amplitudes)
    if program.trace is not None:
        n_bytes += program.trace.n_bytes(program.schedule.round_trips, *size)
    return n_bytes


def _check_result(program: Program, capabilities: Capabilities, limits: Limits) -> None:
    if program.trace is not None:
        capabilities.check_trace(
            program.trace,
            round_trips=program.schedule.round_trips,
            n_runs=program.n_runs,
            n_spins=program.n_spins - program.lowering.report.field_spin,
        )
    needs = expected_bytes(program, capabilities)
    if needs > limits.result_bytes:
        raise CapabilityError(
            "result_bytes",
            required=needs,
            available=limits.result_bytes,
            hint="ask for fewer runs in a job",
        )
