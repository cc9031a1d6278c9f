"""A driver behind a socket.

Names are imported on first use: the process of a driver needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    for module in _MODULES if name in __all__ else ():
        source = import_module(f"{__name__}.{module}")
        if name in source.__all__:
            found = globals()[name] = getattr(source, name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
