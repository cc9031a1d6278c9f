from __future__ import annotations

import pytest
from cim_machines import Annealer
from cim_wire import SteppedCore

from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import Welcome


@pytest.fixture
def welcome() -> Welcome:
    return Welcome(
        protocol=(1, 0),
        server="cim-hal",
        instance="0" * 32,
        session="1" * 32,
        limits=Limits(),
        capabilities=Annealer().describe(),
    )


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore(queue_length=2, max_sessions=3, result_s=100.0, session_s=1000.0)


@pytest.fixture
def session(bench: SteppedCore) -> str:
    token = bench.hello()
    bench.load(token)
    return token
