"""The thread that writes a journal: all records that wait go in one transaction, in their order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from cim_hal.errors import StorageError

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Persist
    from cim_hal.protocol.jobs.records import Record

__all__ = ["JournalWriter"]

CLOSE_TIMEOUT_S = 30.0
FLUSH_TIMEOUT_S = 120.0
LATER_S = 0.2  # that a record which a crash may undo waits for others
MAX_WAITING = 10_000  # records; a disk that is so far behind takes no more for now

log = logging.getLogger(__name__)


class _Journal(Protocol):
    def write(self, records: Sequence[Record]) -> list[BaseException | None]: ...
    def close(self) -> None: ...


class JournalWriter:
    """Writes records in a thread of its own, so that a slow disk delays nobody but who asked.

    While one group of records is being written others come; they are the next group. So the disk
    is waited for once for each group, not for each record. `announce` is called from that thread
    when there are outcomes, which come in the order in which the records were given. A thread that
    has several records to give calls `begin` after the last, or waits `LATER_S`: woken at once the
    writer would take the interpreter's lock after the first, and a group for it alone.

    Records that a crash may undo have no outcome: they go with the next group, or alone after
    `LATER_S`, and are tried until they are written.
    """

    def __init__(self, journal: _Journal, announce: Callable[[], None]) -> None:
        self._journal = journal
        self._announce = announce
        self._changed = threading.Condition()  # guards what follows
        self._waiting: list[Persist] = []
        self._later: list[Record] = []
        self._n_writing = 0
        self._is_closing = False
        self._outcomes: deque[tuple[Persist, BaseException | None]] = deque()
        # A daemon: a disk that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._loop, name="cim-hal journal", daemon=True)
        self._thread.start()

    def write(self, effect: Persist) -> None:
        """Have a record written after all that were given before; returns at once."""
        with self._changed:
            if not self._is_closing and len(self._waiting) < MAX_WAITING:
                self._waiting.append(effect)
                return
        why = "it is being closed" if self._is_closing else f"{MAX_WAITING} records wait for it"
        self._outcomes.append((effect, StorageError(f"the journal takes no record: {why}")))
        self._announce()

    def write_later(self, record: Record) -> None:
        """Have a record written with the next, or soon; a crash before that undoes it."""
        with self._changed:
            self._later.append(record)

    def begin(self) -> None:
        """Wake the writer where there is something to write."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def outcomes(self) -> Iterator[tuple[Persist, BaseException | None]]:
        """Yield records with None where they were written, or with what went wrong."""
        while self._outcomes:
            yield self._outcomes.popleft()

    def flush(self) -> None:
        """Wait until all records that were given have their outcome.

        `StorageError` if the disk does not answer.
        """
        self.begin()
        with self._changed:
            is_idle = self._changed.wait_for(
                lambda: not self._waiting and not self._n_writing, FLUSH_TIMEOUT_S
            )
        if not is_idle:
            raise StorageError(f"the disk of the journal is silent for {FLUSH_TIMEOUT_S:g} s")

    def close(self) -> None:
        """Write what waits, then close the journal."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():  # it has the journal, whose lock ends with the process
            log.warning("the disk of the journal did not answer within %g s", CLOSE_TIMEOUT_S)
        else:
            self._journal.close()

    def _loop(self) -> None:
        while True:
            later, group = self._next()
            if not later and not group:
                return
            records = [*later, *(effect.record for effect in group)]
            try:
                errors = self._journal.write(records)
            except BaseException as error:  # whatever it is, the core waits for an outcome
                log.exception("a group of %d records was not written", len(records))
                errors = [error] * len(records)
            self._outcomes.extend(zip(group, errors[len(later) :], strict=True))
            with self._changed:
                self._n_writing = 0
                if not self._is_closing:
                    failed = zip(later, errors, strict=False)
                    self._later[:0] = [record for record, error in failed if error is not None]
                self._changed.notify_all()
            if group:
                self._announce()

    def _next(self) -> tuple[list[Record], list[Persist]]:
        """Wait for records: those that a crash may undo, and the others; none at the end."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._waiting or self._is_closing, LATER_S):
                if self._later:
                    break
            group, self._waiting = self._waiting, []
            later, self._later = self._later, []
            self._n_writing = len(group)
            return later, group
