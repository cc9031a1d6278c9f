"""For tests of programs that use machines: networks and peers that misbehave, by seed."""

from cim_hal.testing.examples import example_packets
from cim_hal.testing.fuzz import Mutator
from cim_hal.testing.message_faults import MessageFaults
from cim_hal.testing.message_proxy import MessageProxy
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
    "Mutator",
    "ResetEvery",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "TcpProxy",
    "Timeout",
    "Toxic",
    "example_packets",
]
