"""Replies on their way: how many requests of a peer are unanswered, and what it has no room for.

ZeroMQ takes a few messages for a peer that does not read, and then no more. What it does not take
waits here, so that no reply is lost that somebody still wants; and because that needs memory, a
peer may have only so many requests unanswered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import zmq

from cim_hal.errors import QuotaError
from cim_hal.protocol.wire.codec import encode
from cim_hal.protocol.wire.packet import Kind
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Reply
    from cim_hal.protocol.monitoring import Counters
    from cim_hal.protocol.wire.codec import Buffer
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["Outbox"]

RETRY_S, SHARE = 0.01, 0.05  # least time from one attempt to the next, and their part of the time
BURST = 64  # messages sent to one peer before the others
PEER_BYTES, ALL_BYTES = 8 * 1024**2, 256 * 1024**2  # beyond that, requests are refused
MOST_BYTES = 4 * PEER_BYTES  # of answers to requests for safety, which are not refused
MAX_REFUSALS = 4096  # that wait for one peer; who still does not read is cut off
FORGET_S = 900.0  # a request that got no answer counts no longer


@dataclass(eq=False)
class _Peer:
    unanswered: dict[bytes, float] = field(default_factory=dict)  # id of a request -> when it came
    unsent: dict[bytes, tuple[Kind, list[Buffer]]] = field(default_factory=dict)  # oldest first
    n_bytes: int = 0  # of what is unsent


class Outbox:
    """Sends replies through `send`, which raises `zmq.ZMQError`, now or when there is room.

    Of events to one request that wait only the newest is kept, and none beside the reply.
    """

    def __init__(
        self, send: Callable[[list[Buffer]], None], limits: Limits, counters: Counters
    ) -> None:
        self._send, self._most, self._counters = send, limits.unanswered, counters
        self._peers: dict[bytes, _Peer] = {}
        self._blocked: set[bytes] = set()  # peers with something unsent
        self._n_bytes = 0
        self._retry_at = 0.0

    @property
    def timeout_s(self) -> float:
        """Time until `flush` has something to do."""
        return max(self._retry_at - time.monotonic(), 0.0) if self._blocked else float("inf")

    def admit(self, peer: bytes, request: bytes) -> None:
        """Count a request as unanswered; `QuotaError` where its peer has too many already."""
        state, now = self._peers.setdefault(peer, _Peer()), time.monotonic()
        if len(state.unanswered) >= self._most:
            oldest = now - FORGET_S
            state.unanswered = {key: at for key, at in state.unanswered.items() if at > oldest}
        is_over = len(state.unanswered) >= self._most and request not in state.unanswered
        if is_over or self._is_full(state):
            raise QuotaError(
                f"unanswered: {counted(len(state.unanswered), 'request')} of this connection",
                hint=f"read the answers; {counted(self._most, 'request')} may be under way",
                what="unanswered",
                used=len(state.unanswered) + 1,
                available=self._most,
            )
        state.unanswered[request] = now

    def is_hopeless(self, peer: bytes) -> bool:
        """Return whether a peer goes on to ask and does not read."""
        if peer not in self._blocked:
            return False
        state = self._peers[peer]
        return len(state.unsent) >= self._most + MAX_REFUSALS or state.n_bytes >= MOST_BYTES

    def put(self, reply: Reply) -> None:
        """Send a reply or an event, or keep it until there is room."""
        peer, request, kind = reply.peer, reply.packet.id, reply.packet.kind
        frames = [peer, *encode(reply.packet)]
        state = self._peers.setdefault(peer, _Peer())
        self._discard(state, request)  # an event that waits: this one is newer
        if self.is_hopeless(peer):
            self._counters.count("dropped_replies_total")
        elif state.unsent or not self._attempt(state, request, kind, frames):
            state.unsent[request] = kind, frames
            self._count_bytes(state, sum(map(len, frames)))
        self._note(peer, state)

    def flush(self) -> None:
        """Send what there is room for now, if it is time to try again."""
        began = time.monotonic()
        if began < self._retry_at:
            return
        for peer in list(self._blocked):
            state = self._peers[peer]
            for request, (kind, frames) in list(islice(state.unsent.items(), BURST)):
                if not self._attempt(state, request, kind, frames):
                    break
                self._discard(state, request)
            self._note(peer, state)
        now = time.monotonic()
        self._retry_at = now + max((now - began) / SHARE, RETRY_S)

    def _attempt(self, state: _Peer, request: bytes, kind: Kind, frames: list[Buffer]) -> bool:
        """Send; return False where there is no room. What a peer that is gone would get is lost."""
        try:
            self._send(frames)
        except zmq.ZMQError as error:
            if error.errno == zmq.EAGAIN:
                return False
            self._counters.count("dropped_replies_total", by=kind is Kind.REPLY)
        if kind is Kind.REPLY:
            state.unanswered.pop(request, None)
        return True

    def _note(self, peer: bytes, state: _Peer) -> None:
        if state.unsent:
            self._blocked.add(peer)
            return
        self._blocked.discard(peer)
        if not state.unanswered:
            self._peers.pop(peer, None)

    def _discard(self, state: _Peer, request: bytes) -> None:
        _, frames = state.unsent.pop(request, (Kind.REPLY, []))
        self._count_bytes(state, -sum(map(len, frames)))

    def _count_bytes(self, state: _Peer, by: int) -> None:
        state.n_bytes += by
        self._n_bytes += by

    def _is_full(self, state: _Peer) -> bool:
        return state.n_bytes > PEER_BYTES or (state.n_bytes > 0 and self._n_bytes > ALL_BYTES)
