"""What users instantiate: sessions, jobs and the ways to reach a machine.

Names are imported on first use: blocking sessions do without asyncio, and most without a server.
"""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from cim_hal.client.async_pool import AsyncDevicePool
    from cim_hal.client.async_session import AsyncJob, AsyncSession, open_device_async
    from cim_hal.client.job import Job
    from cim_hal.client.lease import Lease
    from cim_hal.client.options import Retries
    from cim_hal.client.pool import DevicePool
    from cim_hal.client.session import Session, open_device
    from cim_hal.client.spawn import SpawnedServer, spawn_server
    from cim_hal.client.transport.base import Transport
    from cim_hal.client.transport.local import LocalTransport, LoopbackTransport
    from cim_hal.client.tuning import Tuner
    from cim_hal.client.uploads import Loaded

__all__ = [
    "AsyncDevicePool",
    "AsyncJob",
    "AsyncSession",
    "DevicePool",
    "Job",
    "Lease",
    "Loaded",
    "LocalTransport",
    "LoopbackTransport",
    "Retries",
    "Session",
    "SpawnedServer",
    "Transport",
    "Tuner",
    "open_device",
    "open_device_async",
    "spawn_server",
]

_MODULES = (
    "options",
    "session",
    "job",
    "lease",
    "spawn",
    "uploads",
    "tuning",
    "transport.base",
    "async_session",
    "async_pool",
    "pool",
    "transport.local",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _MODULES)


def __dir__() -> list[str]:
    return __all__
