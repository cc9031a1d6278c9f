"""A core whose effects are answered when, and as, the test likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_wire import CAPABILITIES, PAYLOAD, SteppedCore, measured, sample_request

from cim_hal.errors import CimError, DriverFaultError, JobCancelledError, StorageError
from cim_hal.machine.telemetry import Calibration
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Calibrate, Lower, Persist, Reply, Run
from cim_hal.protocol.jobs.records import Accepted, Dropped
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    Bye,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    Hello,
    LockState,
    Message,
    Sample,
    UploadOpened,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import LOCAL

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Effect


class Late:
    """A core whose effects are answered when, and as, the test likes."""

    def __init__(self, **limits: Any) -> None:
        self.core = SteppedCore(result_s=1e9, **limits).core._core
        self.now = 0.0
        self.open: list[Effect] = []
        self.answered: dict[bytes, list[Message]] = {}
        self.jobs: list[str] = []
        self.ran: set[str] = set()
        self.n_asked = 0
        self.epoch = 0  # of the lock that was told of last
        self.hello()

    def hello(self) -> None:
        self.session = self.ask(Hello(protocols=((1, 0), (1, 0)))).session

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Run):
                assert effect.job not in self.ran, "a job ran twice"
                assert self.core._state.epochs.stopped is None, "a job began during a stop"
                self.ran.add(effect.job)
            if isinstance(effect, Run | Lower | Persist | Calibrate):
                self.open.append(effect)
            elif isinstance(effect, Reply) and effect.packet.kind is Kind.REPLY:
                self.answered.setdefault(effect.packet.id, []).append(effect.packet.body)
                if isinstance(effect.packet.body, LockState):
                    self.epoch = effect.packet.body.epoch

    def packet(self, body: Message, *buffers: Any) -> Packet:
        """Return a new request of the session."""
        self.n_asked += 1
        token = "" if isinstance(body, Hello) else self.session
        epoch = self.epoch if isinstance(body, Sample) else 0
        number = self.n_asked.to_bytes(16, "big")
        return Packet(Kind.REQUEST, number, body, token, buffers, epoch)

    def ask(self, body: Message, *buffers: Any) -> Any:
        """Send a request; return its answer, or None where that comes later."""
        packet = self.packet(body, *buffers)
        self.take(self.core.receive(b"p", packet, self.now, user=LOCAL))
        return next(iter(self.answered.get(packet.id, [])), None)

    def load(self, bits: int) -> None:
        ref = CouplingRef(digest=PAYLOAD.digest(), bits=bits)
        opened = self.ask(BeginCouplings(coupling=ref, spec=PAYLOAD.spec))
        if isinstance(opened, UploadOpened):
            self.ask(CouplingChunk(upload=opened.upload, offset=0), PAYLOAD.data)
            self.ask(CommitCouplings(upload=opened.upload))

    def sample(self, key: int, bits: int, *, keep: bool) -> None:
        ref = CouplingRef(digest=PAYLOAD.digest(), bits=bits)
        self.ask(sample_request(key, coupling=ref, keep=keep))

    def part(self) -> None:
        """End the session, and begin another."""
        self.ask(Bye())
        self.hello()

    def finish(self, index: int, *, fails: bool) -> None:
        """Give one of the open effects its outcome."""
        effect = self.open.pop(index % len(self.open))
        match effect:
            case Persist() if fails and not isinstance(effect.record, Dropped):
                self.take(self.core.unsaved(effect, StorageError("full"), self.now))
            case Persist():
                if isinstance(effect.record, Accepted):
                    self.jobs.append(effect.record.job)
                self.take(self.core.saved(effect, self.now))
            case Run():
                outcome = _failed(index) if fails else measured(effect.program)
                self.take(self.core.finish(effect.job, outcome, self.now))
            case Lower():
                outcome = _failed(index) if fails else _lowered(effect)
                self.take(self.core.lowered(effect, outcome, self.now))
            case Calibrate(key=key):
                made = _failed(index) if fails else Calibration(taken_at=1.0, valid_s=9.0)
                self.take(self.core.instruments.calibrated(key, made, 0.0, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.core.tick(self.now))


def _failed(index: int) -> CimError:
    return JobCancelledError("stopped") if index % 2 else DriverFaultError("off")


def _lowered(task: Lower) -> Any:
    assert task.source is not None
    return lower_encoded(task.source, task.coupling, CAPABILITIES, task.base)
