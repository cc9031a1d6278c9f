"""What a server accepts; told to every client in the welcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, ValidationError

from cim_hal.errors import TargetError
from cim_hal.toml_files import FileTable, first_problem

__all__ = [
    "MAX_ACKNOWLEDGED",
    "MAX_BUFFERS",
    "MAX_BUFFER_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_SHOWN",
    "MIN_UNANSWERED",
    "Limits",
]

# Fixed by the frame format, the same for every server.
MAX_HEADER_BYTES = 64 * 1024
MAX_BUFFER_BYTES = 1024 * 1024
MAX_BUFFERS = 4
MAX_ACKNOWLEDGED = 64  # jobs in the header of one request

MIN_UNANSWERED = 256  # requests that every server lets a connection have without an answer
MAX_SHOWN = 16  # jobs and events in one report to those who watch

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Limits(FileTable):
    """Sizes, numbers and times a server keeps to.

    Attributes
    ----------
    chunk_bytes : int
        Largest chunk of an upload, at most 1 MiB.
    credit : int
        Chunks a client may have sent and not yet acknowledged.
    max_spins : int
        Most spins of a model; a row of float32 amplitudes then fits one buffer.
    coupling_bytes : int
        Largest model: the whole matrix of its couplings, in the type in which they travel.
    cache_bytes, cache_entries : int
        Couplings kept for re-use, and ways in which they were lowered, with all they take of
        memory; uploads under way may take as many bytes again. What is too much is taken from the
        user who has most, the least recently used first.
    result_bytes : int
        Largest result of one job.
    kept_bytes, kept_jobs : int
        Size and number of results kept until they expire. Those that nobody has fetched stay, and
        where they are so many, with the jobs that have not ended, no other job is taken; others
        make room, the oldest first.
    queue_length, user_queue_length : int
        Jobs that wait for the machine, of all users and of one.
    user_sessions, user_uploads : int
        Sessions and uploads under way of one user.
    user_lowerings : int
        Couplings of one user that wait to be lowered; users take turns.
    user_cache_bytes, user_cache_entries : int or None
        What one user may have of `cache_bytes` and `cache_entries`, the least recently used go
        first; None for half of it. Without keys all are one user, and it is all of it.
    user_kept_bytes, user_kept_jobs : int or None
        What one user may have of `kept_bytes` and `kept_jobs`; None for half of it.
    user_waits : int
        Requests of one user that wait for jobs.
    user_messages_per_s : float or None
        Messages a second that one user may send, with a reserve of two seconds; None for as many
        as they like.
    unfinished_bytes : int
        What all peers together may have sent of messages that are not whole yet; one of them may
        have about two requests.
    unanswered : int
        Requests of one connection that may be without an answer; our clients have `MIN_UNANSWERED`.
    slice_s : float
        Device seconds that a user has in one turn while others wait.
    max_sessions, max_uploads : int
        Sessions on this server, and uploads under way.
    lease_s : float
        Silence after which a lock of the machine is taken back.
    wait_s : float
        Longest wait of one ``job.wait``.
    session_s, upload_s, result_s : float
        Silence after which a session or an upload is forgotten, and age of a result.
    """

    chunk_bytes: Annotated[int, Field(ge=1, le=MAX_BUFFER_BYTES)] = MAX_BUFFER_BYTES
    credit: Count = 4
    max_spins: Annotated[int, Field(ge=1, le=MAX_BUFFER_BYTES // 4)] = MAX_BUFFER_BYTES // 4
    coupling_bytes: Count = 512 * 1024**2
    cache_bytes: Count = 1024**3
    cache_entries: Count = 16_384
    result_bytes: Count = 512 * 1024**2
    kept_bytes: Count = 1024**3
    kept_jobs: Count = 4096
    queue_length: Count = 256
    max_sessions: Count = 256
    max_uploads: Count = 32
    wait_s: Seconds = 30.0
    session_s: Seconds = 900.0
    upload_s: Seconds = 60.0
    result_s: Seconds = 900.0
    lease_s: Seconds = 30.0
    user_sessions: Count = 128
    user_uploads: Count = 16
    user_lowerings: Count = 64
    user_cache_bytes: Count | None = None
    user_cache_entries: Count | None = None
    user_kept_bytes: Count | None = None
    user_kept_jobs: Count | None = None
    user_waits: Count = 1024
    user_messages_per_s: Seconds | None = None
    user_queue_length: Count = 64
    slice_s: Seconds = 2.0
    unfinished_bytes: Count = 16 * 1024**2
    unanswered: Annotated[int, Field(ge=MIN_UNANSWERED)] = 1024

    @classmethod
    def of(cls, limits: Mapping[str, float], target: str) -> Self:
        """Return the limits of the machine file `target`; `TargetError` where one is not right."""
        try:
            return cls(**limits)  # pyright: ignore[reportArgumentType]  checked here
        except ValidationError as error:
            raise TargetError(f"{target}: [limits]: {first_problem(error)}") from None

    def share(self, name: str) -> int:
        """Return what one user may have of a limit: ``user_`` and its name, or half of it."""
        whole, own = getattr(self, name), getattr(self, f"user_{name}")
        return max(whole // 2, 1) if own is None else min(own, whole)

    def for_one_user(self) -> Limits:
        """Return these limits for a server on which all are the same user: it may have it all."""
        shares = ("cache_bytes", "cache_entries", "kept_bytes", "kept_jobs")
        unset = [name for name in shares if getattr(self, f"user_{name}") is None]
        return self.model_copy(update={f"user_{name}": getattr(self, name) for name in unset})
