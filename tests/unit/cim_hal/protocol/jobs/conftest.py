"""A core that keeps few keys and results for a while."""

from __future__ import annotations

import pytest
from cim_wire import SteppedCore

from cim_hal.protocol.jobs.table import IdempotencyRules


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore(
        keys=IdempotencyRules(kept_s=1000.0, max_keys=8), result_s=100.0, session_s=9000.0
    )
