from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from cim_wire import REF, SteppedCore, runs

from cim_hal.protocol.server_state import ServerState
from cim_hal.protocol.wire.messages import EmergencyStop
from cim_hal.protocol.wire.roles import Role, User


@pytest.fixture
def bench() -> SteppedCore:
    bench = SteppedCore()
    bench.user = User("olga", Role.OPERATOR)
    return bench


def test_what_one_handler_changes_all_others_see(bench):
    session = bench.hello()
    bench.load(session)
    state = bench.core._state
    assert isinstance(state, ServerState)
    assert [held.digest for held in state.couplings.listing(0).couplings] == [REF.digest]
    assert len(runs(bench.sample(session))) == 1
    assert REF.digest in state.jobs.needs
    bench.send(EmergencyStop(reason="smoke"), session)
    assert state.epochs.stopped.reason == "smoke"
    assert runs(bench.sample(session, 2)) == []


def test_its_parts_are_never_exchanged(bench):
    with pytest.raises(FrozenInstanceError):
        bench.core._state.sessions = None
