"""A bounded store: the least recently used goes first, what is in use stays."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LruStore"]


class LruStore:
    """Values by key, bounded in bytes; the newest stays, and so does what is pinned.

    Parameters
    ----------
    max_bytes : int
    is_pinned : callable
        Tells of a key whether its value must stay.
    """

    def __init__(
        self, max_bytes: int, is_pinned: Callable[[Any], bool] = lambda _key: False
    ) -> None:
        self._max_bytes = max_bytes
        self._is_pinned = is_pinned
        self._n_bytes = 0
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return self._n_bytes

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keep `value`, which takes `size` bytes."""
        self.drop(key)
        self._entries[key] = (value, size)
        self._n_bytes += size
        if self._n_bytes > self._max_bytes:
            self._make_room(key)

    def get(self, key: Any) -> Any | None:
        """Return the value, as the most recently used; None where there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def drop(self, key: Any) -> int:
        """Let go of a value, if it is there; return its bytes."""
        size = self._entries.pop(key, (None, 0))[1]
        self._n_bytes -= size
        return size

    def items(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield key, value and size; the most recently used first, and that changes nothing."""
        for key, (value, size) in reversed(self._entries.items()):
            yield key, value, size

    def _make_room(self, newest: Any) -> None:
        for key in list(self._entries):
            if self._n_bytes <= self._max_bytes:
                return
            if key != newest and not self._is_pinned(key):
                self.drop(key)
