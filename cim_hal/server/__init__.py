"""A driver behind a socket."""

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
