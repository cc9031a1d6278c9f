"""Why a machine that answers takes no jobs: it is locked, stopped, or not safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import EmergencyStopError, InterlockError, LeaseHeldError

if TYPE_CHECKING:
    from cim_hal.protocol.wire.messages import StatusReport

__all__ = ["UNAVAILABLE", "unavailability"]

# What a job is told that met one.
UNAVAILABLE = (LeaseHeldError, EmergencyStopError, InterlockError)


def unavailability(report: StatusReport, epoch: int) -> str:
    """Return what keeps those who carry an epoch, or none, from a machine; empty where nothing."""
    if report.stop is not None:
        return f"{report.stop.by} stopped it"
    if report.lock is not None and report.lock.epoch != epoch:
        return f"{report.lock.holder} locked it"
    telemetry = report.machine and report.machine.telemetry
    if telemetry and telemetry.open_interlocks:
        return f"{', '.join(telemetry.open_interlocks)}: open"
    return ""
