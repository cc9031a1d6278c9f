"""The rules of the wire, without I/O and without a clock."""

from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings.content import Payload, Prepared, prepare
from cim_hal.protocol.effects import Effect, Prepare, Reply, Run, Stop
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.packet import Kind, Packet, answer
from cim_hal.protocol.wire.results import Measured

__all__ = [
    "Effect",
    "Kind",
    "Limits",
    "Measured",
    "Packet",
    "Payload",
    "Prepare",
    "Prepared",
    "Reply",
    "Run",
    "ServerCore",
    "Stop",
    "answer",
    "decode",
    "encode",
    "prepare",
]
