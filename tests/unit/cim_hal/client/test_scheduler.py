from __future__ import annotations

import pytest

from cim_hal import Telemetry
from cim_hal.client.scheduler import unavailability
from cim_hal.machine.driver_state import DriverState
from cim_hal.protocol.wire.messages import DeviceStatus, StatusReport
from cim_hal.protocol.wire.messages.status import LockSummary, StopSummary, Throughput

LOCK = LockSummary(holder="bob", epoch=7)


def _report(**changes) -> StatusReport:
    facts = {"device": "bench", "software": "cim-hal", "instance": "0" * 32, "uptime_s": 1.0}
    rest = {"state": "idle", "queued": 0, "n_sessions": 1, "throughput": Throughput(bucket_s=10.0)}
    return StatusReport(**facts, **rest, **changes)


def _machine(**interlocks: bool) -> DeviceStatus:
    telemetry = Telemetry(interlocks=interlocks)
    return DeviceStatus(driver=DriverState(), telemetry=telemetry, number=1, age_s=0.0)


@pytest.mark.parametrize(
    ("report", "epoch", "why"),
    [
        (_report(), 0, ""),
        (_report(lock=LOCK), 0, "bob locked it"),
        (_report(lock=LOCK), 6, "bob locked it"),
        (_report(lock=LOCK), 7, ""),
        (_report(stop=StopSummary(by="olga"), lock=LOCK), 7, "olga stopped it"),
        (_report(machine=_machine(lid=False, laser=True)), 0, "lid: open"),
        (_report(machine=_machine(lid=True)), 0, ""),
    ],
)
def test_a_machine_is_kept_from_those_who_may_not_use_it(report, epoch, why):
    assert unavailability(report, epoch) == why
