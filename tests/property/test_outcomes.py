"""Every effect with an outcome is answered once, in any order: nothing stays half done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from late_core import Late

from cim_hal.protocol.effects import Persist
from cim_hal.protocol.jobs.records import Accepted, Ended, Started
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.messages import (
    AckJob,
    Bye,
    CancelJob,
    EmergencyStop,
    LockDevice,
    ResetDevice,
    RunCalibration,
    UnlockDevice,
    WaitJob,
)

if TYPE_CHECKING:
    from collections.abc import Callable


KEYS = range(1, 5)


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
        st.just(Late.part),
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
    late.load(3)
    late.finish(0, fails=False)
    for move in moves:
        move(late)
    late.part()
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
