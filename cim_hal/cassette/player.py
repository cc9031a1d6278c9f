"""A server that is a tape: it answers what was asked before as it was answered before.

No I/O: a packet in, a packet out. Ids are those of the request; all tokens are those on the tape,
which a client takes from the replies as it took them then.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cim_hal.cassette.likeness import first_difference, likeness
from cim_hal.errors import CimError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import Bye, Farewell, Hello, Ping, Pong, Welcome
from cim_hal.protocol.wire.packet import Kind, Packet, answer
from cim_hal.protocol.wire.version import agree

if TYPE_CHECKING:
    from cim_hal.cassette.tape import Tape

__all__ = ["Player"]


class Player:
    """Answers from a tape.

    A request that was made several times gets the replies in their order, and the last of them
    from then on: a job is running first, then done.

    Parameters
    ----------
    tape : Tape

    Raises
    ------
    CassetteError
        Nobody was welcomed on the tape.
    """

    def __init__(self, tape: Tape) -> None:
        self._replies: dict[bytes, list[Packet]] = defaultdict(list)
        self._requests: dict[str, list[Packet]] = defaultdict(list)
        for exchange in tape.exchanges:
            self._replies[likeness(exchange.request)].append(exchange.reply)
            self._requests[exchange.request.body.t].append(exchange.request)

    def answer(self, request: Packet) -> Packet:
        """Return the reply to a request, which is a fault where the tape has none."""
        try:
            return self._answer(request)
        except CimError as error:
            return answer(request, to_wire(error))

    def _answer(self, request: Packet) -> Packet:
        if request.kind is not Kind.REQUEST:
            raise RemoteProtocolError("a client must not send replies, nor events")
        replies = self._replies.get(likeness(request))
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
            f"the tape has no such {request.body.t} request",
            hint=self._nearest(request),
            kind="recording",
        )

    def _nearest(self, request: Packet) -> str:
        known = self._requests.get(request.body.t)
        if not known:
            return f"nobody asked for {request.body.t} when it was recorded"
        return min((first_difference(request, other) for other in known), key=len)
