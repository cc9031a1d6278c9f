"""One lowering at a time, users in turns, and as many waiting as may."""

from __future__ import annotations

import pytest
from cim_wire import CAPABILITIES, CONTENT, REF, SteppedCore, replies
from coupling_stores import DIGEST

from cim_hal.errors import QuotaError
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.couplings.turns import LoweringTurns
from cim_hal.protocol.effects import Lower, Reply
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import BeginCouplings, CouplingRef
from cim_hal.protocol.wire.roles import Role, User

ANN, BEN = User("ann", Role.USER), User("ben", Role.USER)


def _task(number: int) -> Lower:
    return Lower(CouplingRef(digest=DIGEST, gauge_seed=number), None)


def _order(turns: LoweringTurns, seconds: float = 0.5) -> list[int]:
    order, now = [], 0.0
    while (pending := turns.next(now)) is not None:
        assert turns.next(now) is None  # one at a time
        order.append(pending.task.coupling.gauge_seed)
        now += seconds
        turns.end(pending, now)
    return order


def test_users_take_turns_whatever_the_first_one_has_asked_for():
    turns = LoweringTurns(Limits())
    for number in range(40):
        turns.request(_task(number), "ann")
    for number in (100, 101):
        turns.request(_task(number), "ben")
    order = _order(turns)
    assert order.index(100) <= 1
    assert order.index(101) <= 3
    assert sorted(order) == [*range(40), 100, 101]
    assert not turns.holds(DIGEST)


def test_what_two_users_ask_for_is_done_once_at_the_turn_of_either():
    turns = LoweringTurns(Limits())
    for number in range(10):
        turns.request(_task(number), "ann")
    turns.request(_task(9), "ben")
    order = _order(turns)
    assert order.index(9) <= 1
    assert sorted(order) == list(range(10))


def test_as_many_wait_as_one_user_may_have_and_others_have_theirs():
    turns = LoweringTurns(Limits(user_lowerings=2))
    turns.request(_task(0), "ann")
    turns.next(0.0)
    turns.request(_task(1), "ann")
    turns.request(_task(2), "ann")
    with pytest.raises(QuotaError) as caught:
        turns.request(_task(3), "ann")
    assert caught.value.details["what"] == "user_lowerings"
    turns.request(_task(2), "ann")  # the same again
    turns.request(_task(3), "ben")


def test_the_core_hands_out_one_lowering_and_the_next_one_with_its_outcome():
    bench = SteppedCore()
    bench.user = ANN
    bench.load(anns := bench.hello())
    bench.user = BEN
    bens = bench.hello()

    def begin(session: str, seed: int) -> list:
        ref = CouplingRef(digest=REF.digest, gauge_seed=seed)
        return bench.send(BeginCouplings(coupling=ref, spec=CONTENT.spec), session)

    bench.user = ANN
    handed_out = [task for seed in range(5) for task in begin(anns, seed)]
    bench.user = BEN
    handed_out += begin(bens, 100)
    order = []
    while handed_out:
        (task,) = handed_out
        assert isinstance(task, Lower)
        order.append(task.coupling.gauge_seed)
        outcome = lower_encoded(task.source, task.coupling, CAPABILITIES)
        bench.now += 0.1
        effects = bench.core.lowered(task, outcome, bench.now)
        assert [reply.coupling for reply in replies(effects)] == [task.coupling]
        handed_out = [effect for effect in effects if not isinstance(effect, Reply)]
    assert order == [0, 100, 1, 2, 3, 4]
