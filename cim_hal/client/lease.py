"""A lock of the machine, kept alive while it is needed."""

from __future__ import annotations

import logging
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from cim_hal.errors import CimError, ClosedError, LeaseLostError, LocalProtocolError, TransportError

if TYPE_CHECKING:
    from cim_hal.client.control import Control
    from cim_hal.client.runner import Runner
    from cim_hal.protocol.wire.messages import LockState

__all__ = ["Lease"]

log = logging.getLogger(__name__)


class Lease:
    """The machine, for one session alone; a context manager that gives it back.

    Made by `Session.lock`. A thread renews it, three times in the time it would last without. Where
    that fails for too long, because this process was stopped or the network is down, the
    lock is lost: what uses the machine is then refused with `LeaseLostError`, by the server.
    """

    def __init__(self, state: LockState, control: Control, runner: Runner) -> None:
        self._stands = state.stands
        self._hold = _Renewal(state.epoch, state.lease_s / 3, control, runner)
        weakref.finalize(self, self._hold.is_over.set)
        if not self._stands:  # one that stands lasts as long as was said
            threading.Thread(target=self._hold.renew, name="cim-hal lease", daemon=True).start()

    @property
    def epoch(self) -> int:
        """Number of the lock; the session carries it in its messages."""
        return self._hold.epoch

    @property
    def is_lost(self) -> bool:
        """Whether the lock is over without having been given back, as far as is known."""
        return self._hold.is_lost.is_set()

    def release(self) -> None:
        """Give the machine back; twice, or too late, is no mistake."""
        self._hold.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, eq=False)
class _Renewal:
    """What the thread knows of a lease: not the lease itself, which may be forgotten."""

    epoch: int
    every_s: float
    control: Control
    runner: Runner
    is_over: threading.Event = field(default_factory=threading.Event)
    is_lost: threading.Event = field(default_factory=threading.Event)

    def renew(self) -> None:
        """Give a sign of life now and then, until the lease is over or lost."""
        while not self.is_over.wait(self.every_s):
            try:
                state = self.runner.run(self.control.info())
            except (ClosedError, LocalProtocolError):  # the session is closed
                return
            except CimError as error:
                log.warning("the lock could not be renewed, and is tried again: %s", error)
                continue
            if state.epoch != self.epoch and not self.is_over.is_set():
                self.is_lost.set()
                log.warning("the lock %d of the machine is lost", self.epoch)
                return

    def release(self) -> None:
        if self.is_over.is_set():
            return
        self.is_over.set()
        try:
            self.runner.run(self.control.unlock(self.epoch))
        except LeaseLostError:
            self.is_lost.set()
        except TransportError as error:
            log.warning("the lock could not be given back, and runs out by itself: %s", error)
