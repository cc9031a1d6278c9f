"""Unreliable networks, reproducible by a seed, for tests of programs that use machines."""

from cim_hal.testing.message_proxy import MessageFaults, MessageProxy
from cim_hal.testing.tcp_proxy import TcpProxy
from cim_hal.testing.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetEvery,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

__all__ = [
    "Bandwidth",
    "Latency",
    "LimitData",
    "MessageFaults",
    "MessageProxy",
    "ResetEvery",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "TcpProxy",
    "Timeout",
    "Toxic",
]
