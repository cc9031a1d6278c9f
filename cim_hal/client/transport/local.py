"""A server in this process: the same core, the packet itself instead of its bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.client.options import not_a_device
from cim_hal.client.transport.base import (
    LineTransport,
    Mailbox,
    MailboxLine,
    Transport,
    closed_error,
    deliver,
)
from cim_hal.errors import ModelError, TargetError, TransportTimeoutError
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.driver import Driver
from cim_hal.machine.registry import claim, make_driver
from cim_hal.model.conversion import require
from cim_hal.ownership import release
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.driver.calls import RebuildableDriver
from cim_hal.server.service import TICK_S, Service

if TYPE_CHECKING:
    from cim_hal.client.options import ConnectionOptions
    from cim_hal.ownership import Lock
    from cim_hal.protocol.effects import Reply
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["LocalTransport", "LoopbackTransport", "open_target"]

PEER = b"local"
# The memory is the caller's own: one model may take what there is, a dense one of 100,000 spins and
# two bits 2.5 GB; of those that are kept for later, only so much stays.
LIMITS = {"coupling_bytes": 2**36, "cache_bytes": 2**36, "user_cache_bytes": 2**30}


class LocalTransport(LineTransport):
    """Calls a driver in this process, and closes it; any thread may use it.

    `lock` is that of its machine, and is released after the driver was closed.
    """

    is_interruptible = True

    def __init__(
        self, driver: Driver, limits: Limits | None = None, *, lock: Lock | None = None
    ) -> None:
        require("driver", driver, Driver, TargetError, hint="pass a Driver")
        self._machine_lock = lock
        self._lock = threading.RLock()
        if limits is not None:
            require("limits", limits, Limits, ModelError, hint="pass Limits")
        self._mailboxes: dict[bytes, Mailbox] = {}
        self._waiting: list[Mailbox] = []
        self._is_closed = False
        self._settled_at = 0.0
        with self._lock:  # the driver may report before the service is assigned
            limits = (Limits(**LIMITS) if limits is None else limits).for_one_user()
            self._service = Service(driver, self._settle, limits)

    def line(self, timeout_s: float) -> MailboxLine:
        """Return a line to the core."""
        del timeout_s
        return MailboxLine(self)

    def send(self, request: Packet, mailbox: Mailbox) -> None:
        """Hand a request to the core."""
        with self._lock:
            self._check_open()
            if time.monotonic() - self._settled_at >= TICK_S:
                self._settle()  # nobody has waited since, so no time has passed for the core
            self._mailboxes[request.id] = mailbox
            self._deliver(self._service.receive(PEER, request))

    def receive(self, mailbox: Mailbox, timeout_s: float) -> Packet:
        """Wait for a packet; of those who wait, the first lets time pass for the core."""
        packet = mailbox.take(0.0)  # in place already where the core answered at once
        return packet or self._wait(mailbox, timeout_s)

    def forget(self, request_ids: Iterable[bytes]) -> None:
        """Drop the replies to some requests."""
        for request_id in request_ids:
            self._mailboxes.pop(request_id, None)

    def close(self) -> None:
        """Stop what runs and close the driver; whoever waits gets a `ClosedError`."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            for mailbox in self._waiting:
                mailbox.wake()
        if not was_closed:
            self._service.close()
            release(self._machine_lock)

    def _wait(self, mailbox: Mailbox, timeout_s: float) -> Packet:
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._waiting.append(mailbox)
        try:
            while True:
                remaining_s = deadline - time.monotonic()
                is_first = self._waiting[0] is mailbox
                packet = mailbox.take(min(remaining_s, TICK_S) if is_first else remaining_s)
                if packet is not None:
                    return packet
                is_over = time.monotonic() >= deadline
                self._check_open()
                self._settle()  # also at the end: compiling may have held this thread up so long
                if is_over:
                    packet = mailbox.take(0.0)
                    if packet is None:
                        raise TransportTimeoutError("the machine in this process gave no answer")
                    return packet
        finally:
            self._leave(mailbox)

    def _leave(self, mailbox: Mailbox) -> None:
        with self._lock:
            was_first = self._waiting[0] is mailbox
            self._waiting.remove(mailbox)
            if was_first and self._waiting:
                self._waiting[0].wake()  # it ticks from now on

    def _settle(self) -> None:
        """Let time pass for the core, and deliver what it has to say."""
        with self._lock:
            if not self._is_closed:
                self._settled_at = time.monotonic()
                self._deliver(self._service.settle())

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed_error()

    def _deliver(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            deliver(reply.packet, self._mailboxes)


class LoopbackTransport(LineTransport):
    """A `LocalTransport` that writes and reads every packet as the network would."""

    def __init__(self, driver: Driver, limits: Limits | None = None) -> None:
        self._local = LocalTransport(driver, limits)

    def line(self, timeout_s: float) -> _LoopbackLine:
        """Return a line whose packets go through bytes."""
        return _LoopbackLine(self._local.line(timeout_s))

    def close(self) -> None:
        """Stop what runs and close the driver."""
        self._local.close()


@dataclass(frozen=True, eq=False)
class _LoopbackLine:
    line: MailboxLine

    def send(self, request: Packet) -> None:
        self.line.send(_through_bytes(request))

    def next(self, *, timeout_s: float) -> Packet:
        return _through_bytes(self.line.next(timeout_s=timeout_s))

    def close(self) -> None:
        self.line.close()


def _through_bytes(packet: Packet) -> Packet:
    return decode([bytes(frame) for frame in encode(packet)])


def open_target(options: ConnectionOptions) -> Transport:
    """Return a transport to a driver, or to the one that a name stands for.

    `TargetError` if the target is no device.
    """
    target = options.target
    if isinstance(target, MachineConfig):
        limits = Limits.of(LIMITS | dict(target.limits), target.target)
        lock = claim(target)
        try:
            return LocalTransport(RebuildableDriver(lambda: make_driver(target)), limits, lock=lock)
        except BaseException:
            release(lock)
            raise
    if isinstance(target, Driver):
        return LocalTransport(target)
    raise not_a_device(target)
