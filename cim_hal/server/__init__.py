"""A driver behind a socket."""

from cim_hal.server.driver.driver_options import Backoff, DriverOptions
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.executor import Host
from cim_hal.server.router import Router
from cim_hal.server.security.authenticator import Gatekeeper
from cim_hal.server.security.authorized_clients import AuthorizedClients, Client, authorize, revoke
from cim_hal.server.service import Station

__all__ = [
    "AuthorizedClients",
    "Backoff",
    "Client",
    "DriverOptions",
    "DriverProcess",
    "Gatekeeper",
    "Host",
    "Router",
    "Station",
    "authorize",
    "revoke",
]
