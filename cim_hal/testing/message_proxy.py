"""A ZeroMQ proxy that loses, repeats, delays and reorders whole messages, in a thread of its own.

TCP does not do that to messages; gateways, full queues and peers that reconnect do.
"""

from __future__ import annotations

import logging
import sched
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import zmq

from cim_hal.client.transport.zmq import show_keys
from cim_hal.errors import ModelError, TargetError
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES
from cim_hal.server.security.endpoint import DEFAULT, bound, check_endpoint
from cim_hal.server.steps import GuardedSteps

if TYPE_CHECKING:
    from cim_hal.key_files import ClientKeys

__all__ = ["DeliveredCopy", "FaultSampler", "MessageFaults", "MessageProxy"]

log = logging.getLogger(__name__)

TICK_S = 0.05
MAX_BURST = 64  # messages taken from one socket before those that are due go out
MAX_PEERS = 256  # beyond that, the one that was silent for longest is forgotten
TO_SERVER, TO_CLIENT = "to_server", "to_client"
OPTIONS = {
    zmq.LINGER: 0,
    zmq.ROUTER_MANDATORY: 1,
    zmq.MAXMSGSIZE: MAX_BUFFER_BYTES + 4096,
    zmq.HANDSHAKE_IVL: 5000,
}


@dataclass(frozen=True, kw_only=True)
class MessageFaults:
    """Probabilities of faults of a message; they are independent.

    A probability outside 0 to 1, or a negative time, is a `ModelError`.
    """

    drop: float = 0.0
    duplicate: float = 0.0  # either copy may be delayed or reordered
    delay: float = 0.0  # it arrives `late_s` later, and later ones of its peer wait behind it
    reorder: float = 0.0  # it arrives `late_s` later, and later ones overtake it
    late_s: float = 0.05

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= (np.inf if name == "late_s" else 1):
                rule = "0 or more" if name == "late_s" else "between 0 and 1"
                raise ModelError(f"{name} = {value!r}", hint=f"it must be {rule}")


class DeliveredCopy(NamedTuple):
    """A copy of a message: its delay, and whether later messages have to wait for it."""

    late_s: float
    keeps_place: bool


class FaultSampler:
    """Draws the faults of one message after another, and counts them."""

    def __init__(self, faults: MessageFaults, seed: list[int], counts: Counter[str]) -> None:
        self._faults = faults
        self._rng = np.random.default_rng(seed)
        self._counts = counts

    def draw(self) -> list[DeliveredCopy]:
        """Return the copies of the next message that arrive: none, one or two."""
        faults = self._faults
        # Always six numbers, so that one probability does not change what the others hit.
        drop, duplicate, *both = self._rng.random(6)
        self._counts["messages"] += 1
        if drop < faults.drop:
            self._counts["dropped"] += 1
            return []
        copies = [self._copy(*both[:2])]
        if duplicate < faults.duplicate:
            self._counts["duplicated"] += 1
            copies.append(self._copy(*both[2:]))
        return copies

    def _copy(self, delay: float, reorder: float) -> DeliveredCopy:
        if reorder < self._faults.reorder:
            self._counts["reordered"] += 1
            return DeliveredCopy(self._faults.late_s, keeps_place=False)
        if delay < self._faults.delay:
            self._counts["delayed"] += 1
            return DeliveredCopy(self._faults.late_s, keeps_place=True)
        return DeliveredCopy(0.0, keeps_place=True)


NO_FAULTS = MessageFaults()


@dataclass(eq=False)
class _Peer:
    """A client, and the socket that represents it at the server."""

    back: zmq.Socket[bytes]
    active_at: float
    last_due: dict[str, float] = field(default_factory=lambda: {TO_SERVER: 0.0, TO_CLIENT: 0.0})


class MessageProxy:
    """A ROUTER for clients, and for each client a DEALER to `target`; a context manager.

    Clients connect without encryption. To a server that requires keys (CURVE) the proxy shows its
    own; `TcpProxy` passes encrypted connections through. The same `seed` does the same to the n-th
    message in a direction. With `insecure` it may listen where other machines reach it, and they
    then reach the target too. The connection of a client to the target is closed after `silent_s`
    without requests and replies; the client gets a new one if it returns. `on_message` is called in
    the proxy's thread for each message that arrives: whether it is for a client, the name of the
    client, and the frames.

    `endpoint`, where it listens, is set on entering. `counts` has ``messages``, ``dropped``,
    ``duplicated``, ``delayed``, ``reordered`` of both directions, and ``undeliverable``: the
    receiver was gone or its queue full. `TargetError` if the target is not an endpoint; on
    entering, `BindError` if the endpoint cannot be bound.

    Examples
    --------
    >>> from cim_hal.testing import MessageFaults, MessageProxy
    >>> faults = MessageFaults(drop=0.01, duplicate=0.01)
    >>> with MessageProxy("tcp://127.0.0.1:5555", to_client=faults, seed=1) as proxy:
    ...     proxy.endpoint.startswith("tcp://127.0.0.1:")
    True
    """

    def __init__(
        self,
        target: str,
        *,
        listen: str = DEFAULT,
        to_server: MessageFaults = NO_FAULTS,
        to_client: MessageFaults = NO_FAULTS,
        seed: int = 0,
        insecure: bool = False,
        keys: ClientKeys | None = None,
        silent_s: float = 60.0,
        on_message: Callable[[bool, bytes, list[bytes]], None] | None = None,
    ) -> None:
        check_endpoint(listen, insecure=insecure)
        if not target.startswith(("tcp://", "ipc://")):
            raise TargetError(f"{target!r} is no endpoint", hint="write tcp://host:port")
        self._target, self._keys, self._on_message = target, keys, on_message
        self._listen, self._silent_s = listen, silent_s
        self.counts: Counter[str] = Counter()
        self._samplers = {
            TO_SERVER: FaultSampler(to_server, [seed, 0], self.counts),
            TO_CLIENT: FaultSampler(to_client, [seed, 1], self.counts),
        }
        self._peers: OrderedDict[bytes, _Peer] = OrderedDict()
        self._agenda = sched.scheduler(time.monotonic, lambda _: None)  # the loop waits
        self._is_stopping = False
        self._steps = GuardedSteps(log)
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._binding = ExitStack()
        self._front = self._context.socket(zmq.ROUTER)
        try:
            listening = bound(self._front, self._listen, OPTIONS)
            self.endpoint = self._binding.enter_context(listening)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._thread = threading.Thread(target=self._loop, name="cim-hal chaos", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._thread.join()
        self._context.destroy(linger=0)
        self._binding.close()

    def _loop(self) -> None:
        self._forget_silent()
        while not self._is_stopping:
            wait_s = self._steps.run("sending", self._agenda.run, False)  # noqa: FBT003
            wait_s = TICK_S if wait_s is None else min(wait_s, TICK_S)
            ready = self._steps.wait(self._poll, wait_s)
            if ready:
                self._steps.run("receiving", self._take, ready)

    def _take(self, ready: set[zmq.Socket[bytes]]) -> None:
        if self._front in ready:
            for name, *frames in _received(self._front):
                self._steps.run("receiving", self._from_client, name, frames)
        for name, peer in list(self._peers.items()):
            if peer.back in ready:
                for frames in _received(peer.back):
                    self._mark_active(name, peer)
                    self._steps.run("receiving", self._plan, TO_CLIENT, name, peer, frames)

    def _from_client(self, name: bytes, frames: list[bytes]) -> None:
        self._plan(TO_SERVER, name, self._peer(name), frames)

    def _poll(self, wait_s: float) -> set[zmq.Socket[bytes]]:
        poller = zmq.Poller()
        for each in (self._front, *(peer.back for peer in self._peers.values())):
            poller.register(each, zmq.POLLIN)
        return {each for each, _ in poller.poll(max(int(wait_s * 1000) + 1, 0))}

    def _plan(self, direction: str, name: bytes, peer: _Peer, frames: list[bytes]) -> None:
        if self._on_message:
            self._on_message(direction == TO_CLIENT, name, frames)
        now = time.monotonic()
        for copy in self._samplers[direction].draw():
            due = now + copy.late_s
            if copy.keeps_place:
                due = peer.last_due[direction] = max(due, peer.last_due[direction])
            self._agenda.enterabs(due, 0, self._deliver, (direction, name, peer, frames))

    def _deliver(self, direction: str, name: bytes, peer: _Peer, frames: list[bytes]) -> None:
        if direction == TO_CLIENT:
            if not self._send(self._front, [name, *frames]):
                self._forget(name)
        elif not peer.back.closed:
            self._send(peer.back, frames)

    def _send(self, sink: zmq.Socket[bytes], frames: list[bytes]) -> bool:
        try:
            sink.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError:
            self.counts["undeliverable"] += 1
            return False
        return True

    def _peer(self, name: bytes) -> _Peer:
        if name not in self._peers:
            back = self._context.socket(zmq.DEALER)
            back.setsockopt(zmq.LINGER, 0)
            back.setsockopt(zmq.IPV6, int("[" in self._target))
            if self._keys is not None:
                show_keys(back, self._keys)
            back.connect(self._target)
            self._peers[name] = _Peer(back, active_at=time.monotonic())
        self._mark_active(name, self._peers[name])
        if len(self._peers) > MAX_PEERS:
            self._forget(next(iter(self._peers)))
        return self._peers[name]

    def _mark_active(self, name: bytes, peer: _Peer) -> None:
        peer.active_at = time.monotonic()
        if name in self._peers:
            self._peers.move_to_end(name)

    def _forget_silent(self) -> None:
        since = time.monotonic() - self._silent_s
        for name in [name for name, peer in self._peers.items() if peer.active_at < since]:
            self._forget(name)
        self._agenda.enter(max(self._silent_s / 10, TICK_S), 1, self._forget_silent)

    def _forget(self, name: bytes) -> None:
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.back.close()


def _received(source: zmq.Socket[bytes]) -> list[list[bytes]]:
    messages: list[list[bytes]] = []
    while len(messages) < MAX_BURST:
        try:
            messages.append(source.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            break
    return messages
