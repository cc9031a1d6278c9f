"""Transports to a server: in this process, through bytes, through ZeroMQ."""

from cim_hal.client.transport.base import Transport
from cim_hal.client.transport.local import LocalTransport
from cim_hal.client.transport.loopback import LoopbackTransport

__all__ = ["LocalTransport", "LoopbackTransport", "Transport"]
