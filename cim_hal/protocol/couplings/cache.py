"""What a server keeps of couplings, bounded in bytes and in entries, of all users and of each.

An entry is charged to the user who loaded it first, and to the next of those who use it once that
one has too many. So who loads much loses what he loaded himself, the least recently used first.
Where all together have too much, it is taken from the user who has most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from cim_hal.protocol.index import OrderedIndex

if TYPE_CHECKING:
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.couplings import CouplingRef

__all__ = ["CouplingCache", "Group", "Key"]

# Couplings by their digest, and what was made of them for the machine by reference.
Key: TypeAlias = "str | CouplingRef"


@dataclass(eq=False)
class _Entry:
    value: Any
    size: int
    users: dict[str, None]  # the first one is charged


@dataclass(eq=False)
class _Charged:
    """The entries that one user is charged with, the last used at the end."""

    keys: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    n_bytes: int = 0


@dataclass(eq=False)
class Group:
    """Entries of one digest; `used` grows with each use of one of them."""

    digest: str
    keys: dict[Key, None] = field(default_factory=dict)
    used: int = 0


class CouplingCache:
    """Values by key. What `is_pinned`, and what was put last, stays whatever the bounds."""

    def __init__(self, limits: Limits, is_pinned: Callable[[Key], bool]) -> None:
        self._limits = limits
        self._is_pinned = is_pinned
        self._entries: dict[Key, _Entry] = {}
        self._users: dict[str, _Charged] = {}
        self._groups: dict[str, Group] = {}
        self._by_use: OrderedIndex[Group] = OrderedIndex()
        self._n_uses = 0
        self.n_bytes = 0

    # ---- what is there ----------------------------------------------------------------------

    def get(self, key: Key, user: str | None = None) -> Any | None:
        """Return a value, which is used now, by `user` where that is given; None if not there."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if user is not None:
            entry.users.setdefault(user)
        self._use(key, entry)
        return entry.value

    def peek(self, key: Key) -> Any | None:
        """Return a value, if it is there. This is no use of it."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def keys(self, digest: str) -> tuple[Key, ...]:
        """Return the keys of all that is there of a digest."""
        group = self._groups.get(digest)
        return tuple(group.keys) if group is not None else ()

    def users(self, digest: str) -> set[str]:
        """Return all who have used what is there of a digest."""
        return {user for key in self.keys(digest) for user in self._entries[key].users}

    def n_bytes_of(self, digest: str) -> int:
        """Return the bytes of all that is there of a digest."""
        return sum(self._entries[key].size for key in self.keys(digest))

    def n_digests(self) -> int:
        """Return how many digests there are."""
        return len(self._groups)

    def by_use(self, before: int = 0) -> Iterator[Group]:
        """Yield what is there, the last used first, from a use before that number on."""
        return self._by_use.before(before or None)

    # ---- changes ----------------------------------------------------------------------------

    def put(self, key: Key, value: Any, size: int, users: Iterable[str]) -> None:
        """Keep a value of `size` bytes that `users` have loaded."""
        self.drop(key)
        entry = self._entries[key] = _Entry(value, size, dict.fromkeys(users or [""]))
        self.n_bytes += size
        group = self._groups.setdefault(_digest(key), Group(_digest(key)))
        group.keys[key] = None
        self._charge(key, entry)
        self._use(key, entry)

    def drop(self, key: Key) -> int:
        """Drop a value, if it is there. Return its number of bytes."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return 0
        self.n_bytes -= entry.size
        self._discharge(key, entry)
        group = self._groups[_digest(key)]
        del group.keys[key]
        if not group.keys:
            self._by_use.discard(group.used)
            del self._groups[group.digest]
        return entry.size

    def make_room(self, *newest: Key) -> None:
        """Drop what is too much, of the users of the `newest` and of all, but not those."""
        users = {user for key in newest for user in self._entries[key].users}
        for user in users:
            self._keep_to_share(user, newest)
        while self._is_full() and any(self._evict(user, newest) for user in self._largest()):
            pass

    def _keep_to_share(self, user: str, newest: tuple[Key, ...]) -> None:
        while (charged := self._users.get(user)) is not None:
            most_bytes, most = (
                self._limits.share("cache_bytes"),
                self._limits.share("cache_entries"),
            )
            if charged.n_bytes <= most_bytes and len(charged.keys) <= most:
                return
            if not self._evict(user, newest):
                return

    def _is_full(self) -> bool:
        limits = self._limits
        return self.n_bytes > limits.cache_bytes or len(self._entries) > limits.cache_entries

    def _largest(self) -> list[str]:
        """Return the users, the one with most of what there is too much of first."""
        if self.n_bytes > self._limits.cache_bytes:
            return sorted(self._users, key=lambda user: -self._users[user].n_bytes)
        return sorted(self._users, key=lambda user: -len(self._users[user].keys))

    def _evict(self, user: str, newest: tuple[Key, ...]) -> bool:
        """Take the least recently used entry from a user; it goes unless others use it too."""
        keys = self._users[user].keys if user in self._users else OrderedDict[Key, None]()
        for _ in range(len(keys)):
            key = next(iter(keys))
            if key in newest or self._is_pinned(key):
                keys.move_to_end(key)  # it is in use, and not looked at again so soon
                continue
            entry = self._entries[key]
            if len(entry.users) == 1:
                self.drop(key)
                return True
            self._discharge(key, entry)
            del entry.users[user]
            self._charge(key, entry, is_oldest=True)
            self._keep_to_share(next(iter(entry.users)), newest)
            return True
        return False

    def _charge(self, key: Key, entry: _Entry, *, is_oldest: bool = False) -> None:
        charged = self._users.setdefault(next(iter(entry.users)), _Charged())
        charged.keys[key] = None
        charged.n_bytes += entry.size
        if is_oldest:
            charged.keys.move_to_end(key, last=False)

    def _discharge(self, key: Key, entry: _Entry) -> None:
        user = next(iter(entry.users))
        charged = self._users[user]
        del charged.keys[key]
        charged.n_bytes -= entry.size
        if not charged.keys:
            del self._users[user]

    def _use(self, key: Key, entry: _Entry) -> None:
        self._users[next(iter(entry.users))].keys.move_to_end(key)
        self._n_uses += 1
        group = self._groups[_digest(key)]
        self._by_use.discard(group.used)
        group.used = self._n_uses
        self._by_use.add(group.used, group)


def _digest(key: Key) -> str:
    return key if isinstance(key, str) else key.digest
