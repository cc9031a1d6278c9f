"""A driver behind a socket."""

from cim_hal.server.authorized import AuthorizedClients, Client, authorize, revoke
from cim_hal.server.host import Host
from cim_hal.server.router import Router
from cim_hal.server.security import Gatekeeper
from cim_hal.server.station import Station

__all__ = [
    "AuthorizedClients",
    "Client",
    "Gatekeeper",
    "Host",
    "Router",
    "Station",
    "authorize",
    "revoke",
]
