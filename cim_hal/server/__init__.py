"""A driver behind a socket.

Names are imported on first use: the process of a driver needs none of them.
"""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from cim_hal.server.driver.process import DriverProcess
    from cim_hal.server.driver.supervisor import Backoff, DriverOptions
    from cim_hal.server.executor import Executor
    from cim_hal.server.router import Router
    from cim_hal.server.security.authenticator import (
        Authenticator,
        AuthorizedClients,
        Client,
        authorize,
        revoke,
    )
    from cim_hal.server.service import Service

__all__ = [
    "Authenticator",
    "AuthorizedClients",
    "Backoff",
    "Client",
    "DriverOptions",
    "DriverProcess",
    "Executor",
    "Router",
    "Service",
    "authorize",
    "revoke",
]

_MODULES = (
    "driver.supervisor",
    "driver.process",
    "security.authenticator",
    "executor",
    "service",
    "router",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _MODULES)


def __dir__() -> list[str]:
    return __all__
