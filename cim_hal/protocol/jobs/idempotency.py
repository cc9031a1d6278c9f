"""Idempotency keys: which submission is which, and how long a key is remembered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.protocol.wire.messages import Sample

__all__ = ["IdempotencyRules", "body_digest", "job_id"]

DIGEST_BYTES = 16


@dataclass(frozen=True)
class IdempotencyRules:
    """How long keys are remembered, and how many.

    A key is remembered as long as its job, and `kept_s` after the end of it. Where `max_keys`
    of them are remembered no new job is taken: a young key is never forgotten for it.

    Attributes
    ----------
    kept_s : float
        Seconds after the end of a job.
    max_keys : int
        A key without a result takes about 300 bytes of memory, and 200 on disk.
    """

    kept_s: float = 86_400.0
    max_keys: int = 1_000_000


def job_id(user: str, key: str) -> str:
    """Return the id of the job that `key` makes for `user`: 32 hexadecimal digits.

    It follows from the two alone, so one table finds jobs by key and by id, and a key means the
    same job before and after a restart.
    """
    text = f"cim-hal job\n{user}\n{key}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def body_digest(request: Sample) -> bytes:
    """Return 16 bytes that tell requests with other fields apart; the key is not among them.

    Fields at their defaults do not count: a later version may add some.
    """
    fields = request.model_dump(exclude_defaults=True, exclude={"key"})
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()[:DIGEST_BYTES]
