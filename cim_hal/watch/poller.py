"""A thread that polls a source of snapshots, so that those who show them never wait for it."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self

from cim_hal.errors import CimError
from cim_hal.watch.snapshot import History, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Poller", "Source"]

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where snapshots come from."""

    def read(self) -> Snapshot:
        """Return what is known now."""
        ...

    def close(self) -> None:
        """Release what is held; no more is read."""
        ...


class Poller:
    """Reads a source every `every_s` seconds; a context manager that closes it.

    Parameters
    ----------
    source : Source
    every_s : float
    on_snapshot : callable
        Receives each snapshot and the history, in the thread of the poller.

    Attributes
    ----------
    latest : Snapshot or None
        The newest snapshot; None before the first poll.
    history : History
    n_polls : int
        Number of polls so far; each may have brought something new.
    failure : CimError or None
        Why polling has ended; the last snapshot then says so too.
    """

    def __init__(
        self,
        source: Source,
        *,
        every_s: float,
        on_snapshot: Callable[[Snapshot, History], None] = lambda *_: None,
    ) -> None:
        self._source = source
        self._every_s = every_s
        self._on_snapshot = on_snapshot
        self._ended = threading.Event()
        self.latest: Snapshot | None = None
        self.history = History()
        self.n_polls = 0
        self.failure: CimError | None = None
        self._thread = threading.Thread(target=self._loop, name="cim-hal poller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # Waits as long as one poll takes: a thread left behind would hold its sockets, and they
        # the end of the process.
        self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._ended.is_set():
                began = time.monotonic()
                self._show(self._source.read().after(self.latest))
                self._ended.wait(max(self._every_s - (time.monotonic() - began), 0.01))
        except Exception as error:  # noqa: BLE001  whoever waits is told
            self._fail(error)
        finally:
            self._source.close()

    def _show(self, snapshot: Snapshot) -> None:
        self.history.add(snapshot)
        self.latest = snapshot
        self.n_polls += 1
        self._on_snapshot(snapshot, self.history)

    def _fail(self, error: Exception) -> None:
        """End as failed: whoever waits for snapshots must not wait for ever."""
        failure = error
        if not isinstance(failure, CimError):
            log.exception("polling ended")
            failure = CimError(f"internal error: {type(error).__name__}: {error}")
        with suppress(Exception):
            if self.latest is not None:
                self._show(replace(self.latest, trouble=str(failure)))
        self.failure = failure
