"""The rules of the wire, without I/O and without a clock."""

from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings.content import EncodedCouplings, LoweredCouplings, lower_encoded
from cim_hal.protocol.effects import Effect, Lower, Reply, Run, Stop
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.packet import Kind, Packet, answer
from cim_hal.protocol.wire.results import Result

__all__ = [
    "Effect",
    "EncodedCouplings",
    "Kind",
    "Limits",
    "Lower",
    "LoweredCouplings",
    "Packet",
    "Reply",
    "Result",
    "Run",
    "ServerCore",
    "Stop",
    "answer",
    "decode",
    "encode",
    "lower_encoded",
]
