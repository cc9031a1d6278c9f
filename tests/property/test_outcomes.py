"""Every effect with an outcome is answered once, in any order: nothing stays half done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_wire import CAPABILITIES, PAYLOAD, Bench, measured, sample_request
from hypothesis import given, settings
from hypothesis import strategies as st

from cim_hal.errors import CimError, DriverFaultError, JobCancelledError, StorageError
from cim_hal.machine.telemetry import Calibration
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Calibrate, Lower, Persist, Reply, Run
from cim_hal.protocol.jobs.records import Accepted, Dropped, Ended, Started
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.messages import (
    AckJob,
    BeginCouplings,
    Bye,
    CancelJob,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    EmergencyStop,
    Hello,
    LockDevice,
    Message,
    ResetDevice,
    RunCalibration,
    UnlockDevice,
    UploadOpened,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.protocol.effects import Effect

KEYS = range(1, 5)


class Late:
    """A core whose effects are answered when, and as, the test likes."""

    def __init__(self) -> None:
        self.core = Bench(result_s=1e9).core._core
        self.now = 0.0
        self.open: list[Effect] = []
        self.answered: dict[bytes, list[Message]] = {}
        self.jobs: list[str] = []
        self.n_asked = 0
        self.session = self.ask(Hello(protocols=((1, 0), (1, 0)))).session  # type: ignore[union-attr]

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Run | Lower | Persist | Calibrate):
                self.open.append(effect)
            elif isinstance(effect, Reply) and effect.packet.kind is Kind.REPLY:
                self.answered.setdefault(effect.packet.id, []).append(effect.packet.body)

    def ask(self, body: Message, *buffers: Any) -> Any:
        """Send a request; return its answer, or None where that comes later."""
        self.n_asked += 1
        token = "" if isinstance(body, Hello) else self.session
        request = self.n_asked.to_bytes(16, "big")
        packet = Packet(Kind.REQUEST, request, body, token, buffers)
        self.take(self.core.receive(b"p", packet, self.now, user=LOCAL))
        return next(iter(self.answered.get(request, [])), None)

    def load(self, bits: int) -> None:
        ref = CouplingRef(digest=PAYLOAD.digest(), bits=bits)
        opened = self.ask(BeginCouplings(coupling=ref, spec=PAYLOAD.spec))
        if isinstance(opened, UploadOpened):
            self.ask(CouplingChunk(upload=opened.upload, offset=0), PAYLOAD.data)
            self.ask(CommitCouplings(upload=opened.upload))

    def sample(self, key: int, bits: int, *, keep: bool) -> None:
        ref = CouplingRef(digest=PAYLOAD.digest(), bits=bits)
        self.ask(sample_request(key, coupling=ref, keep=keep))

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


def _moves() -> st.SearchStrategy[Callable[[Late], Any]]:
    key, bits = st.sampled_from(KEYS), st.sampled_from([3, 4])

    def job(late: Late, number: int) -> str:
        return late.jobs[number % len(late.jobs)] if late.jobs else "0" * 32

    number = st.integers(0, 7)
    return st.one_of(
        st.builds(lambda b: lambda late: late.load(b), bits),
        st.builds(
            lambda k, b, keep: lambda late: late.sample(k, b, keep=keep), key, bits, st.booleans()
        ),
        st.builds(lambda n: lambda late: late.ask(CancelJob(job=job(late, n))), number),
        st.builds(lambda n: lambda late: late.ask(AckJob(job=job(late, n))), number),
        st.builds(
            lambda n: lambda late: late.ask(WaitJob(job=job(late, n), timeout_s=9.0)), number
        ),
        st.builds(lambda k: lambda late: late.ask(LockDevice(key=f"{k:032x}")), key),
        st.just(lambda late: late.ask(UnlockDevice())),
        st.just(lambda late: late.ask(EmergencyStop(reason="smoke"))),
        st.builds(
            lambda k: lambda late: late.ask(RunCalibration(key=f"{k:032x}", timeout_s=9.0)), key
        ),
        st.builds(lambda s: lambda late: late.wait(s), st.sampled_from([0.1, 2.0, 40.0])),
        st.builds(
            lambda n, fails: lambda late: late.finish(n, fails=fails) if late.open else None,
            number,
            st.booleans(),
        ),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(_moves(), max_size=40), st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_any_order_of_outcomes_leaves_nothing_half_done(moves, order):
    late = Late()
    for move in moves:
        move(late)
    late.ask(UnlockDevice())
    state = late.core._state
    for round_ in range(200):
        if state.epochs.stopped is not None:
            late.ask(ResetDevice(stop=state.epochs.stopped.number))
        while late.open:
            late.finish(order[round_ % len(order)], fails=False)
        late.wait(40.0)  # locks run out, and what was put off is tried again
        if not late.open and not state.jobs.busy and not state.jobs.queued:
            break
    assert (state.jobs.busy, state.jobs.queued) == (False, 0)
    assert all(job.state in TERMINAL for job in state.jobs.table.listed(None))
    assert not any(job.is_moving for job in state.jobs.table.listed(None))
    late.wait(1e4)
    late.ask(Bye())
    assert all(len(bodies) == 1 for bodies in late.answered.values())
    assert len(late.answered) == late.n_asked


def test_a_start_and_an_end_are_written_once_each_though_the_disk_was_full():
    late = Late()
    late.load(3)
    late.finish(0, fails=False)
    late.sample(1, 3, keep=True)
    written: list[type] = []
    for fails in (False, True, False, False, True, False):
        while not late.open:
            late.wait(2.0)
        effect = late.open[0]
        if isinstance(effect, Persist) and not fails:
            written.append(type(effect.record))
        late.finish(0, fails=fails and isinstance(effect, Persist))
    assert written == [Accepted, Started, Ended]
