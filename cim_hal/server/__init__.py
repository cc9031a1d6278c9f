"""A driver behind a socket."""

from cim_hal.server.host import Host
from cim_hal.server.router import Router
from cim_hal.server.station import Station

__all__ = ["Host", "Router", "Station"]
