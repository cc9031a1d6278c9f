"""Replay of a cassette: recorded replies to the requests that were recorded.

Replies carry the id of the live request. All tokens are those of the cassette; clients take them
from the replies, as they did when it was recorded.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import msgpack
import zmq

from cim_hal.errors import CimError, ProtocolError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import Bye, Farewell, Hello, Ping, Pong, Welcome
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet, answer
from cim_hal.protocol.wire.version import agree
from cim_hal.server.security.endpoint import DEFAULT, bound, check_endpoint
from cim_hal.server.steps import GuardedSteps

if TYPE_CHECKING:
    from cim_hal.cassette.file import Cassette

__all__ = ["ReplayServer", "Replayer"]

log = logging.getLogger(__name__)

POLL_MS = 50
# Fields that differ each time a client makes the same request: they say how long to wait, or are
# drawn at random.
IGNORED_FIELDS = frozenset({"key", "timeout_s", "since"})


class Replayer:
    """Answers requests from a cassette, without I/O.

    A request that was recorded several times gets its replies in their order, and then the last
    one again and again: a job is running first, then done.
    """

    def __init__(self, cassette: Cassette) -> None:
        self._replies: dict[bytes, list[Packet]] = defaultdict(list)
        self._requests: dict[str, list[Packet]] = defaultdict(list)
        for exchange in cassette.exchanges:
            self._replies[_digest(exchange.request)].append(exchange.reply)
            self._requests[exchange.request.body.t].append(exchange.request)

    def answer(self, request: Packet) -> Packet:
        """Return the reply to a request; an error message where the cassette has none."""
        try:
            return self._answer(request)
        except CimError as error:
            return answer(request, to_wire(error))

    def _answer(self, request: Packet) -> Packet:
        if request.kind is not Kind.REQUEST:
            raise RemoteProtocolError("a client must not send replies, nor events")
        replies = self._replies.get(_digest(request))
        if replies:
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if isinstance(request.body, Hello) and isinstance(reply.body, Welcome):
                agree(request.body.protocols, (reply.body.protocol, reply.body.protocol))
            return answer(request, reply.body, *reply.buffers)
        if isinstance(request.body, Ping):
            return answer(request, Pong())
        if isinstance(request.body, Bye):
            return answer(request, Farewell())
        raise UnknownReferenceError(
            f"the cassette has no such {request.body.t} request",
            hint=self._nearest(request),
            kind="recording",
        )

    def _nearest(self, request: Packet) -> str:
        known = self._requests.get(request.body.t)
        if not known:
            return f"nobody asked for {request.body.t} when it was recorded"
        return min((_first_difference(request, other) for other in known), key=len)


class ReplayServer:
    """Serves a cassette at an endpoint, from a thread of its own; a context manager.

    It listens at `endpoint`, once entered. `BindError` if that cannot be bound, or is reachable
    from other machines without `insecure`.
    """

    def __init__(
        self, cassette: Cassette, *, listen: str = DEFAULT, insecure: bool = False
    ) -> None:
        check_endpoint(listen, insecure=insecure)
        self._replayer, self._listen = Replayer(cassette), listen
        self._is_stopping = False
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._binding = ExitStack()
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            listening = bound(self._socket, self._listen)
            self.endpoint = self._binding.enter_context(listening)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._thread = threading.Thread(target=self._loop, name="cim-hal replay", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._thread.join()
        self._context.destroy(linger=0)
        self._binding.close()

    def _loop(self) -> None:
        steps = GuardedSteps(log)
        while not self._is_stopping:
            if steps.wait(self._socket.poll, POLL_MS):
                steps.run("replaying", self._answer)

    def _answer(self) -> None:
        peer, *frames = self._socket.recv_multipart()
        reply = self._reply(frames)
        with suppress(zmq.ZMQError):  # the peer has disconnected
            self._socket.send_multipart([peer, *reply], zmq.NOBLOCK)

    def _reply(self, frames: Sequence[bytes]) -> list[bytes]:
        try:
            reply = self._replayer.answer(decode(frames))
        except ProtocolError as error:
            request = bytes.fromhex(str(error.details.get("request", NO_ID.hex())))
            reply = Packet(Kind.REPLY, request, to_wire(error))
        return [bytes(frame) for frame in encode(reply)]


def _digest(request: Packet) -> bytes:
    """Return a digest that is equal for requests that ask for the same."""
    digest = hashlib.sha256(msgpack.packb(_fields(request), use_bin_type=True) or b"")
    for array in request.buffers:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _fields(request: Packet) -> dict[str, Any]:
    """Return the fields of a request that decide on its reply."""
    body = request.body.model_dump(mode="json")
    if isinstance(request.body, Hello):
        return {"t": body["t"]}  # any client, of any version
    return {name: body[name] for name in sorted(body) if name not in IGNORED_FIELDS}


def _first_difference(request: Packet, other: Packet) -> str:
    """Say in which field two requests of one type differ; empty if in none."""
    ours, theirs = _fields(request), _fields(other)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            return f"{name} is {_short(ours.get(name))}, on the cassette {_short(theirs.get(name))}"
    return "its bytes differ" if _digest(request) != _digest(other) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
