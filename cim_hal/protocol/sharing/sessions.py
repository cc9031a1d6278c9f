"""Client sessions, and what one user may have and send."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import CapabilityError, QuotaError, RateLimitedError, UnknownReferenceError

if TYPE_CHECKING:
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.roles import User
    from cim_hal.protocol.wire.version import Version

__all__ = ["ClientSession", "RateLimiter", "SessionTable", "check_quota"]

BURST_S = 2.0
SILENT_S = 2.0  # silence after which an idle session makes room where there is none
HELLOS = 1024  # of one user, remembered beyond the end of their sessions


@dataclass(eq=False)
class ClientSession:
    """A session of one user, over any number of connections."""

    token: str
    version: Version
    seen: float
    user: User


class SessionTable:
    """The sessions of a server by token. A hello that arrives several times opens one session."""

    def __init__(self, limits: Limits, new_token: Callable[[], str]) -> None:
        self._limits = limits
        self._new_token = new_token
        self._sessions: dict[str, ClientSession] = {}
        self._hellos: dict[str, OrderedDict[bytes, str]] = defaultdict(OrderedDict)  # by user

    def __contains__(self, token: str) -> bool:
        return token in self._sessions

    def __getitem__(self, token: str) -> ClientSession:
        return self._sessions[token]

    def opened(self, user: User, hello: bytes, now: float) -> ClientSession | None:
        """Return the session that a hello, sent again with the same id, has opened before.

        `UnknownReferenceError` where that has ended since.
        """
        known = self._hellos[user.name].get(hello)
        return None if known is None else self.get(known, user, now)

    def open(self, user: User, hello: bytes, version: Version, now: float) -> ClientSession:
        """Return the new session of a hello; `in_the_way` says whether there is room for it."""
        token = self._new_token()
        session = self._sessions[token] = ClientSession(token, version, now, user)
        own = self._hellos[user.name]
        own[hello] = token
        if len(own) > max(HELLOS, self._limits.user_sessions):
            own.popitem(last=False)
        return session

    def in_the_way(self, user: User, in_use: Set[str], now: float) -> str | None:
        """Return the session that has to end for a new one of a user; None where there is room.

        It is the longest silent one: of this user, where one user has as many as may be; else of
        the same role. Sessions of a lesser role are not counted: they take no room from a higher
        one. One that was silent for `SILENT_S` may end, because its client can say hello again; one
        that is `in_use` may after a longer silence. `QuotaError` and `CapabilityError` where none
        may.
        """
        sessions, limits = self._sessions.values(), self._limits
        own = [session for session in sessions if session.user.name == user.name]
        counted = [session for session in sessions if session.user.role >= user.role]
        is_quota = len(own) >= limits.user_sessions
        if not is_quota and len(counted) < limits.max_sessions:
            return None
        alike = own if is_quota else [s for s in counted if s.user.role == user.role]
        silent_s = {False: SILENT_S, True: limits.lease_s + limits.wait_s}
        ends = [s for s in alike if now - s.seen > silent_s[s.token in in_use]]
        if ends:
            return min(ends, key=lambda session: (session.token in in_use, session.seen)).token
        used, hint = len(own) + 1, "close sessions that are not needed"
        check_quota(
            user.name, "user_sessions", used=used, available=limits.user_sessions, hint=hint
        )
        needs, available = len(counted) + 1, limits.max_sessions
        raise CapabilityError("max_sessions", required=needs, available=available)

    def get(self, token: str, user: User, now: float) -> ClientSession:
        """Return a session of a user; `UnknownReferenceError` if there is none, or another's."""
        session = self._sessions.get(token)
        if session is None or session.user.name != user.name:
            raise UnknownReferenceError(
                "the server does not know that session", hint="say hello again", kind="session"
            )
        session.seen, session.user = now, user  # whose role may have changed
        return session

    def touch(self, token: str, now: float) -> None:
        """Note that a session is alive, if it is there."""
        if token in self._sessions:
            self._sessions[token].seen = now

    def end(self, token: str) -> ClientSession:
        """Remove a session, and return it."""
        return self._sessions.pop(token)

    def silent(self, now: float) -> list[str]:
        """Return the sessions that have been silent for longer than `limits.session_s`."""
        oldest = now - self._limits.session_s
        return [token for token, session in self._sessions.items() if session.seen < oldest]


def check_quota(user: str, what: str, *, used: int, available: int, hint: str) -> None:
    """Raise a `QuotaError` where a user would have more of a field of `Limits` than one may."""
    if used > available:
        raise QuotaError(
            f"{what}: {user} would have {used}, and one user may have {available}",
            hint=hint,
            what=what,
            used=used,
            available=available,
        )


class RateLimiter:
    """Counts the messages of each user against a rate, with a reserve of two seconds."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        # user -> messages not yet made up for, when
        self._spent: dict[str, tuple[float, float]] = {}

    def count(self, user: User, now: float) -> None:
        """Count a message; one that came too soon is a `RateLimitedError` and does not count."""
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
