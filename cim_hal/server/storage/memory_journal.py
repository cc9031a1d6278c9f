"""What a server needs of a journal, and the one that lasts as long as its process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.jobs.idempotency import IdempotencyRules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.jobs.records import EpochRecord, Record, Saved
    from cim_hal.protocol.wire.results import Result

__all__ = ["Journal", "MemoryJournal"]


class Journal(Protocol):
    """Remembers jobs. `write` and `load` are called by one thread, the others by any.

    Attributes
    ----------
    keys : IdempotencyRules
        How long keys are worth remembering in it.
    """

    keys: IdempotencyRules

    def load(self, device: str) -> Iterable[Saved]:
        """Return the jobs that were kept, the oldest first; `device` is the machine's name."""
        ...

    def controls(self) -> EpochRecord | None:
        """Return what was kept of locks and stops."""
        ...

    def write(self, record: Record) -> None:
        """Keep a record; once this returns, a crash does not undo it.

        Raises
        ------
        StorageError
            It cannot be written now; nothing of it was.
        """
        ...

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep couplings by their content, for jobs to come; those it has it does not write."""
        ...

    def couplings(self, digest: str) -> Couplings:
        """Return couplings that were kept.

        Raises
        ------
        UnknownReferenceError
            They are not here, or damaged.
        """
        ...

    def keep_result(self, job: str, result: Result) -> Result:
        """Keep a result ahead of its record, and return it as it is to be read from now on."""
        ...

    def close(self) -> None:
        """Let go of it; doing it twice is no mistake."""
        ...


class MemoryJournal:
    """Remembers nothing beyond the process, and keys for five minutes.

    That is long enough for a request that is sent again; a server without a journal on disk
    forgets all jobs with its process.
    """

    keys = IdempotencyRules(kept_s=300.0)

    def load(self, device: str) -> Iterable[Saved]:
        """Return nothing."""
        del device
        return ()

    def controls(self) -> None:
        """Return nothing."""

    def write(self, record: Record) -> None:
        """Keep nothing: the book itself has it all."""

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep nothing."""

    def couplings(self, digest: str) -> Couplings:
        """Find nothing."""
        raise UnknownReferenceError(
            f"the server does not hold the couplings {digest[:19]}…", kind="coupling"
        )

    def keep_result(self, job: str, result: Result) -> Result:
        """Return the result."""
        del job
        return result

    def close(self) -> None:
        """Do nothing."""
