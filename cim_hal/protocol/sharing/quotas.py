"""Quotas and rate limits of one user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import QuotaError, RateLimitedError

if TYPE_CHECKING:
    from cim_hal.protocol.wire.roles import User

__all__ = ["RateLimiter", "check_quota"]

BURST_S = 2.0


def check_quota(user: str, what: str, *, used: int, available: int, hint: str) -> None:
    """Refuse what is more than one user may have.

    Parameters
    ----------
    what : str
        The field of `Limits`.
    used, available : int
        What the user would have, and what one user may have.

    Raises
    ------
    QuotaError
        It is more.
    """
    if used > available:
        raise QuotaError(
            f"{what}: {user} would have {used}, and one user may have {available}",
            hint=hint,
            what=what,
            used=used,
            available=available,
        )


class RateLimiter:
    """Counts the messages of each user against a rate, with a reserve of two seconds.

    Parameters
    ----------
    per_s : float or None
        Messages a second that a user may send; None for as many as they like.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._spent: dict[
            str, tuple[float, float]
        ] = {}  # user -> messages not yet made up for, when

    def count(self, user: User, now: float) -> None:
        """Count a message.

        Raises
        ------
        RateLimitedError
            It came too soon; it does not count.
        """
        if self._per_s is None:
            return
        spent = self._owed(user.name, now) + 1
        most = max(self._per_s * BURST_S, 1.0)
        if spent > most:
            wait_s = (spent - most) / self._per_s
            raise RateLimitedError(
                f"{user.name} sends more than {self._per_s:g} messages a second",
                hint=f"wait {wait_s:.2g} s",
                per_s=self._per_s,
                retry_after_s=wait_s,
            )
        self._spent[user.name] = (spent, now)

    def tick(self, now: float) -> None:
        """Forget users who owe nothing."""
        self._spent = {name: at for name, at in self._spent.items() if self._owed(name, now) > 0}

    def _owed(self, name: str, now: float) -> float:
        spent, at = self._spent.get(name, (0.0, now))
        return max(spent - (now - at) * (self._per_s or 0.0), 0.0)
