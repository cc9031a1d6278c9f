"""A core without a transport: packets in, and a host that does its effects at once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal import Capabilities, IsingModel, Program
from cim_hal.errors import StorageError
from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings.content import Couplings, lower_encoded
from cim_hal.protocol.effects import Audit, Effect, Lower, Persist, Reply, Run
from cim_hal.protocol.jobs.records import (
    Accepted,
    Dropped,
    Ended,
    Fetched,
    Forgotten,
    Saved,
    Started,
)
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    AskMetrics,
    AskStatus,
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    ErrorMessage,
    Hello,
    Message,
    MetricsReport,
    Sample,
    StatusReport,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.results import Result, pack_spins
from cim_hal.protocol.wire.roles import ANONYMOUS, User
from cim_hal.protocol.wire.version import NEWEST, OLDEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.protocol.jobs.records import Record
    from cim_hal.protocol.jobs.table import IdempotencyRules

CAPABILITIES = Capabilities(
    name="bench", max_spins=8, coupling_bits=8, max_runs=100, reports_amplitudes=False
)
MODEL = IsingModel.from_couplings([[0, 1], [1, 0]])
CONTENT = Couplings.of(MODEL)
PAYLOAD = CONTENT.payload
REF = CouplingRef(digest=PAYLOAD.digest())


class Crashed(Exception):  # noqa: N818
    """The server was killed."""


class Disk:
    """What a journal on disk would hold; full, or the end of its server, where the test says so."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.jobs: dict[str, Saved] = {}
        self.is_full = False
        self.fills_after: int | None = None  # so many records
        self.n_refused = 0
        self.crash: str | None = None  # "before" or "after" the next record is written

    @property
    def is_whole(self) -> bool:
        """Whether it takes whatever comes."""
        return not self.is_full and self.crash is None and self.fills_after is None

    def write(self, record: Record) -> None:
        crash, self.crash = self.crash, None
        if crash == "before":
            raise Crashed
        if self.fills_after is not None:
            self.is_full = self.is_full or self.fills_after == 0
            self.fills_after = None if self.is_full else self.fills_after - 1
        if self.is_full:
            self.n_refused += 1
            raise StorageError("no room")
        self._apply(record)
        if crash == "after":
            raise Crashed

    def _apply(self, record: Record) -> None:
        self.records.append(record)
        match record:
            case Accepted(job=job):
                queued, user = JobState.QUEUED, record.user.name
                self.jobs[job] = Saved(job, user, record.digest, queued, None, record, None, 0.0)
            case Started(job=job):
                self.jobs[job] = replace(self.jobs[job], state=JobState.RUNNING)
            case Ended():
                self._end(record)
            case Fetched(jobs=jobs):
                for job in jobs:
                    self.jobs[job] = replace(self.jobs[job], is_fetched=True)
            case Dropped(jobs=jobs):
                for job in jobs:
                    self.jobs[job] = replace(self.jobs[job], accepted=None, result=None)
            case Forgotten(jobs=jobs):
                for job in jobs:
                    del self.jobs[job]

    def _end(self, record: Ended) -> None:
        ended = {"error": record.error, "result": record.result, "ended_at": record.at}
        self.jobs[record.job] = replace(self.jobs[record.job], state=record.state, **ended)
        if record.next:
            self.jobs[record.next] = replace(self.jobs[record.next], state=JobState.RUNNING)


class Written:
    """A core whose records are written at once.

    Attributes
    ----------
    done : list of Effect
        What the last call came to, with the records that were written where they were; up to the
        crash where it crashed.
    """

    def __init__(self, core: ServerCore, disk: Disk) -> None:
        self._core = core
        self.disk = disk
        self.done: list[Effect] = []

    @property
    def records(self) -> list[Record]:
        return self.disk.records

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._core, name)
        if name not in {"receive", "lowered", "finish", "deliver", "progress", "tick", "restore"}:
            return value
        return lambda *args, **kwargs: self.perform(value(*args, **kwargs), args[-1])

    def perform(self, effects: Iterable[Effect], now: Any) -> list[Effect]:
        done = self.done = []
        self._perform(effects, now)
        return [effect for effect in done if not isinstance(effect, Persist)]

    def _perform(self, effects: Iterable[Effect], now: Any) -> None:
        for effect in effects:
            if not isinstance(effect, Persist):
                self.done.append(effect)
                continue
            try:
                self.disk.write(effect.record)
            except StorageError as error:
                self._perform(self._core.unsaved(effect, error, now), now)
            else:
                self.done.append(effect)
                self._perform(self._core.saved(effect, now), now)


class SteppedCore:
    """One peer of a core, with a clock that the test moves."""

    def __init__(
        self,
        capabilities: Capabilities = CAPABILITIES,
        *,
        keys: IdempotencyRules | None = None,
        disk: Disk | None = None,
        first_epoch: int = 1,
        **limits: Any,
    ) -> None:
        numbers = itertools.count(1)
        self.core: Any = Written(
            ServerCore(
                capabilities,
                Limits(**limits),
                keys=keys,
                new_token=lambda: f"{next(numbers):032x}",
                first_epoch=first_epoch,
            ),
            disk or Disk(),
        )
        self.ids = itertools.count(1)
        self.now = 0.0
        self.user: User = ANONYMOUS
        self.audited: list[Audit] = []

    def send(
        self,
        body: Message,
        session: str = "",
        *buffers: np.ndarray,
        peer: bytes = b"p",
        epoch: int = 0,
    ) -> list[Effect]:
        """Hand a request to the core; the answer to it, if any, is the last of its replies.

        What is to be written down goes to `audited`.
        """
        packet = Packet(
            Kind.REQUEST, next(self.ids).to_bytes(16, "big"), body, session, tuple(buffers), epoch
        )
        effects = self.core.receive(peer, packet, self.now, user=self.user)
        self.audited += [effect for effect in effects if isinstance(effect, Audit)]
        return [effect for effect in effects if not isinstance(effect, Audit)]

    def ask(self, body: Message, session: str = "", *buffers: np.ndarray) -> Any:
        """Send a request that is answered at once, and return the body of the answer."""
        (reply,) = replies(self.send(body, session, *buffers))
        return reply

    def hello(self) -> str:
        return self.ask(Hello(protocols=(OLDEST, NEWEST))).session

    def load(self, session: str) -> CouplingRef:
        opened = self.ask(BeginCouplings(coupling=REF, spec=PAYLOAD.spec), session)
        if opened.t == "couplings.loaded":
            return REF
        self.ask(CouplingChunk(upload=opened.upload, offset=0), session, PAYLOAD.data)
        (task,) = self.send(CommitCouplings(upload=opened.upload), session)
        assert isinstance(task, Lower)
        outcome = lower_encoded(task.source, task.coupling, CAPABILITIES, task.base)
        (reply,) = self.core.lowered(task, outcome, self.now)
        assert isinstance(reply, Reply)
        assert not isinstance(reply.packet.body, ErrorMessage)
        return REF

    def sample(self, session: str, key: int = 1, **changes: Any) -> list[Effect]:
        return self.send(sample_request(key, **changes), session)


def sample_request(key: int = 1, **changes: Any) -> Sample:
    fields = {"coupling": REF, "schedule": None, "n_runs": 2, "seed": 7} | changes
    return Sample(key=f"{key:032x}", **fields)


def replies(effects: Iterable[Effect]) -> list[Any]:
    return [effect.packet.body for effect in effects if isinstance(effect, Reply)]


def runs(effects: Iterable[Effect]) -> list[Run]:
    return [effect for effect in effects if isinstance(effect, Run)]


def measured(program: Program) -> Result:
    """A result with all spins up."""
    n_spins = program.n_spins - program.lowering.report.field_spin
    spins = np.ones((program.n_runs, n_spins), dtype=np.int8)
    return Result(pack_spins(spins), None, n_spins, 0.5)


def done(bench: SteppedCore, session: str, key: int = 1, **changes) -> str:
    (run,) = runs(bench.sample(session, key, **changes))
    bench.core.finish(run.job, measured(run.program), bench.now)
    return run.job


def finish(bench: SteppedCore, run: Any, outcome: Any = None) -> list[Any]:
    outcome = measured(run.program) if outcome is None else outcome
    return bench.core.finish(run.job, outcome, bench.now)


def status_of(bench: SteppedCore, session: str) -> StatusReport:
    return bench.ask(AskStatus(), session)


def metrics_of(bench: SteppedCore, session: str) -> MetricsReport:
    return bench.ask(AskMetrics(), session)
