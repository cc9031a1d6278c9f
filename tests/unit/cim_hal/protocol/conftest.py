from __future__ import annotations

import pytest
from cim_machines import Annealer

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
