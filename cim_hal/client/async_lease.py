"""A lock of the machine for an event loop, kept alive by a task."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from cim_hal.errors import CimError, ClosedError, LeaseLostError, LocalProtocolError, TransportError

if TYPE_CHECKING:
    from cim_hal.client.async_runner import AsyncRunner
    from cim_hal.client.control import Control
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.wire.messages import LockState

__all__ = ["AsyncLease"]

log = logging.getLogger(__name__)


class AsyncLease:
    """The machine, for one session alone; an async context manager that locks it and gives it back.

    Made by `AsyncSession.lock`; see `Lease`.
    """

    def __init__(self, locking: Steps[LockState], control: Control, runner: AsyncRunner) -> None:
        self._locking = locking
        self._control = control
        self._runner = runner
        self._renewing: asyncio.Task[None] | None = None
        self._epoch = 0
        self._is_lost = False

    @property
    def epoch(self) -> int:
        """Number of the lock; 0 before it is there."""
        return self._epoch

    @property
    def is_lost(self) -> bool:
        """Whether the lock is over without having been given back, as far as is known."""
        return self._is_lost

    async def __aenter__(self) -> Self:
        state = await self._runner.run(self._locking)
        self._epoch = state.epoch
        if not state.stands:
            self._renewing = asyncio.create_task(self._renew(state.lease_s / 3))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        try:
            await self._runner.run(self._control.unlock(self._epoch))
        except LeaseLostError:
            self._is_lost = True
        except TransportError as error:
            log.warning("the lock could not be given back, and runs out by itself: %s", error)

    async def _renew(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                state = await self._runner.run(self._control.info())
            except (ClosedError, LocalProtocolError):  # the session is closed
                return
            except CimError as error:
                log.warning("the lock could not be renewed, and is tried again: %s", error)
                continue
            if state.epoch != self._epoch:
                self._is_lost = True
                log.warning("the lock %d of the machine is lost", self._epoch)
                return
