"""A driver behind a socket."""

from cim_hal.server.authorized import AuthorizedClients, Client, authorize, revoke
from cim_hal.server.driver_process import DriverProcess
from cim_hal.server.host import Host
from cim_hal.server.options import Backoff, DriverOptions
from cim_hal.server.router import Router
from cim_hal.server.security import Gatekeeper
from cim_hal.server.station import Station

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
