"""How often, how soon and for how long a request is sent again."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attempt", "Retries"]

JITTER = secrets.SystemRandom()


@dataclass(frozen=True)
class Attempt:
    """One sending of a request.

    Attributes
    ----------
    retry_after_s : float
        How long to wait for the reply before the request is sent again.
    pause_s : float
        How long to wait after an error before the next attempt.
    """

    retry_after_s: float
    pause_s: float


@dataclass(frozen=True, kw_only=True)
class Retries:
    """When a request is sent again: only after an error that is `retryable`, with the same key.

    The n-th pause is drawn evenly between 0 and ``min(cap_s, base_s * factor**n)`` ("full
    jitter"), and is at least what the server asks for. No pause goes past the deadline of the
    call.

    Attributes
    ----------
    base_s, factor, cap_s : float
        Of the pauses.
    retry_after_s : float
        How long the first attempt waits for its reply; the next ones `factor` times as long, up
        to `cap_s`. A reply that was lost costs that much.
    limit : int, optional
        Most repetitions of one request; without end, up to the deadline, where it is None.

    Raises
    ------
    ModelError
        A time that is not positive, a factor below 1, or a negative limit.

    References
    ----------
    M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """

    base_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 5.0
    retry_after_s: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("base_s", "cap_s", "retry_after_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ModelError(f"{name} = {getattr(self, name)!r}", hint="it must be positive")
        if not 1 <= self.factor < math.inf:
            raise ModelError(f"factor = {self.factor!r}", hint="it must be 1 or more")
        if self.limit is not None and self.limit < 0:
            raise ModelError(f"limit = {self.limit!r}", hint="it must be 0 or more, or None")

    def attempts(self) -> Iterator[Attempt]:
        """Yield the attempts; the last one, if there is a last, has an endless pause."""
        pause_s, retry_after_s, n_done = self.base_s, self.retry_after_s, 0
        while True:
            is_last = self.limit is not None and n_done >= self.limit
            drawn_s = math.inf if is_last else JITTER.uniform(0.0, min(pause_s, self.cap_s))
            yield Attempt(min(retry_after_s, max(self.cap_s, self.retry_after_s)), drawn_s)
            pause_s, retry_after_s, n_done = (
                min(pause_s * self.factor, self.cap_s),
                min(retry_after_s * self.factor, max(self.cap_s, self.retry_after_s)),
                n_done + 1,
            )
