"""What a session says to its server: load, submit, describe, cancel. Steps, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from cim_hal.client.messages import (
    cancel_request,
    coupling_ref,
    drop_request,
    list_request,
    sample_request,
)
from cim_hal.client.submission import Submission
from cim_hal.client.uploads import Uploader
from cim_hal.errors import ModelError, UnknownReferenceError
from cim_hal.protocol.wire.messages import (
    AskMetrics,
    AskStatus,
    CouplingListing,
    CouplingsDropped,
    Describe,
    Description,
    JobList,
    JobStatus,
    ListCouplings,
    MetricsReport,
    Ping,
    Pong,
    StatusReport,
    WaitJob,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import LoweringReport
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.model.trace import TraceRequest
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import CouplingRef, HeldCouplings, JobInfo, ListJobs, Sample

__all__ = ["Conversation", "Loaded", "SampleOptions"]

JOBS_SINCE = (1, 0)


class SampleOptions(TypedDict, total=False):
    """Options of a submission; see `Session.submit`."""

    n_runs: int
    seed: int | None
    coupling_bits: int | None
    gauge_seed: int | None
    settings: Mapping[str, float] | None
    trace: TraceRequest | None
    priority: int
    key: str | None
    keep: bool


@dataclass(frozen=True)
class Loaded:
    """Couplings on a machine.

    Attributes
    ----------
    reference : CouplingRef
        Couplings digest, bits and gauge.
    report : LoweringReport
        How they were fitted to the machine.
    """

    reference: CouplingRef
    report: LoweringReport


class Conversation:
    """The requests of one session, as steps; `Session` and `AsyncSession` say them.

    Parameters
    ----------
    dialogue : RequestClient
    """

    def __init__(self, dialogue: RequestClient) -> None:
        self.dialogue = dialogue
        self._uploader = Uploader(dialogue)

    def ping(self, timeout_s: float | None) -> Steps[None]:
        """Ask for a sign of life."""
        yield from self.dialogue.ask(Ping(), Pong, until=self.dialogue.until(timeout_s))

    def describe(self, timeout_s: float | None) -> Steps[Description]:
        """Ask what the machine is and how busy it is."""
        until = self.dialogue.until(timeout_s)
        return (yield from self.dialogue.ask(Describe(), Description, until=until))

    def status(self, timeout_s: float | None) -> Steps[StatusReport]:
        """Ask what goes on."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need((1, 0), "status", until)
        return (yield from self.dialogue.ask(AskStatus(), StatusReport, until=until))

    def couplings(self, timeout_s: float | None) -> Steps[tuple[HeldCouplings, ...]]:
        """Ask what couplings the server holds."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need((1, 0), "list of couplings", until)
        held: list[HeldCouplings] = []
        ask = ListCouplings()
        while True:
            page = yield from self.dialogue.ask(ask, CouplingListing, until=until)
            held += page.couplings
            if not page.cursor:
                return tuple(held)
            ask = ListCouplings(first=page.cursor)

    def drop_couplings(self, digest: str, timeout_s: float | None) -> Steps[int]:
        """Let go of couplings."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need((1, 0), "way to drop couplings", until)
        drop = drop_request(digest)
        return (yield from self.dialogue.ask(drop, CouplingsDropped, until=until)).n_bytes

    def metrics(self, timeout_s: float | None) -> Steps[MetricsReport]:
        """Ask what the server has counted."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need((1, 0), "metrics", until)
        return (yield from self.dialogue.ask(AskMetrics(), MetricsReport, until=until))

    def load(
        self,
        model: IsingModel,
        *,
        coupling_bits: int | None,
        gauge_seed: int | None,
        timeout_s: float | None,
    ) -> Steps[Loaded]:
        """Bring a model to the machine."""
        until = self.dialogue.until(timeout_s)
        digest = yield from self._uploader.digest(model, until)
        ref = coupling_ref(digest, bits=coupling_bits, gauge_seed=gauge_seed)
        return Loaded(ref, (yield from self._uploader.load(model, ref, until)).report)

    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None,
        options: SampleOptions,
        timeout_s: float | None,
    ) -> Steps[Submission]:
        """Queue a job."""
        until = self.dialogue.until(timeout_s)
        welcome = yield from self.dialogue.hello(until)
        capabilities = welcome.capabilities
        digest = yield from self._uploader.digest(model, until)
        trace = options.get("trace")
        request = sample_request(
            coupling_ref(
                digest, bits=options.get("coupling_bits"), gauge_seed=options.get("gauge_seed")
            ),
            schedule,
            n_runs=options.get("n_runs", 1),
            seed=options.get("seed"),
            settings=options.get("settings") or {},
            trace=trace,
            priority=options.get("priority", 0),
            key=options.get("key"),
            keep=options.get("keep", True) and welcome.protocol >= JOBS_SINCE,
        )
        capabilities.check_settings(request.settings)
        if trace is not None:
            round_trips = (schedule or capabilities.default_schedule).round_trips
            capabilities.check_trace(
                trace, round_trips=round_trips, n_runs=request.n_runs, n_spins=model.n_spins
            )
        status = yield from self._queue(model, request, until)
        return Submission(self.dialogue, model, status, has_trace=trace is not None)

    def job(
        self, job_id: str, model: IsingModel | None, timeout_s: float | None
    ) -> Steps[Submission]:
        """Find a job again."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need(JOBS_SINCE, "finding a job again", until)
        listed = yield from self._page(list_request(job=job_id), until)
        wait = WaitJob(job=job_id)
        status = yield from self.dialogue.ask(wait, JobStatus, until=until)
        info = listed.jobs[0] if listed.jobs else None
        if model is not None and info is not None:
            digest = yield from self._uploader.digest(model, until)
            if digest != info.coupling.digest:
                raise ModelError(
                    f"job {job_id} is of the couplings {info.coupling.digest[:19]}…, and the "
                    f"model has {digest[:19]}…",
                    hint="pass the model that was submitted",
                )
        has_trace = info is not None and info.has_trace
        return Submission(self.dialogue, model, status, has_trace=has_trace)

    def jobs(self, states: Iterable[str], timeout_s: float | None) -> Steps[tuple[JobInfo, ...]]:
        """List the jobs of the user."""
        until = self.dialogue.until(timeout_s)
        yield from self.dialogue.need(JOBS_SINCE, "a list of jobs", until)
        request = list_request(states=states)
        page = yield from self._page(request, until)
        found = list(page.jobs)
        while page.more and page.jobs:
            request = request.model_copy(update={"after": page.cursor})
            page = yield from self._page(request, until)
            found += page.jobs
        return tuple(found)

    def _page(self, request: ListJobs, until: float) -> Steps[JobList]:
        return (yield from self.dialogue.ask(request, JobList, until=until))

    def cancel(self, job_id: str, timeout_s: float | None) -> Steps[JobState]:
        """End a job early, by its id."""
        request, until = cancel_request(job_id), self.dialogue.until(timeout_s)
        return (yield from self.dialogue.ask(request, JobStatus, until=until)).state

    def _queue(self, model: IsingModel, request: Sample, until: float) -> Steps[JobStatus]:
        """Send the request; load the model first only where the server asks for it."""
        try:
            return (yield from self.dialogue.ask(request, JobStatus, until=until))
        except UnknownReferenceError as error:
            if error.details.get("kind") != "coupling":
                raise
        yield from self._uploader.load(model, request.coupling, until)
        return (yield from self.dialogue.ask(request, JobStatus, until=until))
