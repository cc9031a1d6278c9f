"""When two requests are the same, though ids, keys and patience differ."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgpack

from cim_hal.protocol.wire.messages import Hello

if TYPE_CHECKING:
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["first_difference", "likeness"]

# Fields that say how long to wait, or that a client makes anew each time.
PASSING = frozenset({"key", "timeout_s", "since"})


def likeness(request: Packet) -> bytes:
    """Return a digest that is equal for requests that ask for the same."""
    digest = hashlib.sha256(msgpack.packb(fields_of(request), use_bin_type=True) or b"")
    for array in request.buffers:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def fields_of(request: Packet) -> dict[str, Any]:
    """Return the fields of a request that count."""
    body = request.body.model_dump(mode="json")
    if isinstance(request.body, Hello):
        return {"t": body["t"]}  # whoever says hello, in whichever version
    return {name: body[name] for name in sorted(body) if name not in PASSING}


def first_difference(request: Packet, other: Packet) -> str:
    """Say in which field two requests of one type differ; empty where in none."""
    ours, theirs = fields_of(request), fields_of(other)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            return f"{name} is {_short(ours.get(name))}, on the tape {_short(theirs.get(name))}"
    return "its bytes differ" if likeness(request) != likeness(other) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
