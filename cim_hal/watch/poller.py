"""A thread that looks again and again, so that those who show it never wait for a server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

from cim_hal.errors import CimError
from cim_hal.watch.snapshot import History, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Poller", "Source"]


class Source(Protocol):
    """Where snapshots come from."""

    def read(self) -> Snapshot:
        """Return what is known now."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Poller:
    """Reads a source every `every_s` seconds; a context manager that closes it.

    Attributes
    ----------
    latest : Snapshot or None
        What is known; None before the first look.
    n_polls : int
        Number of polls so far; each may have brought something new.
    failure : CimError or None
        Why it looks no more.
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
        # No longer than a source takes: a thread left behind would hold its sockets, and they the
        # end of the process.
        self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._ended.is_set():
                began = time.monotonic()
                self._poll()
                self._ended.wait(max(self._every_s - (time.monotonic() - began), 0.01))
        except CimError as error:
            self.failure = error
        finally:
            self._source.close()

    def _poll(self) -> None:
        snapshot = self._source.read().after(self.latest)
        self.history.add(snapshot)
        self.latest = snapshot
        self.n_polls += 1
        self._on_snapshot(snapshot, self.history)
