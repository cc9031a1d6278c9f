"""The interface of a journal, and a journal that lasts as long as its process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.jobs.table import IdempotencyRules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.jobs.records import EpochRecord, Record, Saved
    from cim_hal.protocol.wire.results import Result

__all__ = ["Journal", "MemoryJournal"]


class Journal(Protocol):
    """Keeps jobs beyond the life of a server. One thread calls `write` and `load`, any the others.

    Attributes
    ----------
    keys : IdempotencyRules
        How long idempotency keys are remembered.
    """

    keys: IdempotencyRules

    def load(self, device: str) -> Iterable[Saved]:
        """Return the kept jobs, the oldest first; `device` is the name of the machine."""
        ...

    def controls(self) -> EpochRecord | None:
        """Return the last epoch and the emergency stop in force; None if nothing was kept."""
        ...

    def write(self, record: Record) -> None:
        """Keep a record. Once this returns, a crash does not undo it.

        Raises
        ------
        StorageError
            It cannot be written now; no part of it was.
        """
        ...

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep couplings under the digest of their content, unless they are kept already."""
        ...

    def couplings(self, digest: str) -> Couplings:
        """Return couplings that were kept.

        Raises
        ------
        UnknownReferenceError
            They are not kept, or damaged.
        """
        ...

    def keep_result(self, job: str, result: Result) -> Result:
        """Keep a result before its record is written; return the object to read it from."""
        ...

    def close(self) -> None:
        """Close the journal; a second call has no effect."""
        ...


class MemoryJournal:
    """Keeps nothing beyond the process, and idempotency keys for five minutes.

    That is longer than any client repeats a request. A server without a journal on disk loses all
    jobs when its process ends.
    """

    keys = IdempotencyRules(kept_s=300.0)

    def load(self, device: str) -> Iterable[Saved]:
        """Return nothing."""
        del device
        return ()

    def controls(self) -> None:
        """Return nothing."""

    def write(self, record: Record) -> None:
        """Do nothing: the job table in memory holds everything."""

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep nothing."""

    def couplings(self, digest: str) -> Couplings:
        """Raise an error: nothing is kept."""
        raise UnknownReferenceError(
            f"the server does not hold the couplings {digest[:19]}…", kind="coupling"
        )

    def keep_result(self, job: str, result: Result) -> Result:
        """Return the result itself."""
        del job
        return result

    def close(self) -> None:
        """Do nothing."""
