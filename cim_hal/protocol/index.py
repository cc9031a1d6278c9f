"""Items in the order of a number or text, found from any place on without a look at the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

__all__ = ["OrderedIndex", "page"]

Item = TypeVar("Item")


class OrderedIndex(Generic[Item]):
    """Items by a cursor that orders them; a cursor may be asked for whose item is gone.

    >>> index = OrderedIndex[str]()
    >>> for cursor, item in ((2, "b"), (1, "a"), (4, "d")):
    ...     index.add(cursor, item)
    >>> index.discard(2)
    >>> list(index.after(2)), list(index.before(4)), len(index)
    (['d'], ['a'], 2)
    """

    def __init__(self) -> None:
        self._cursors: list[Any] = []
        self._items: dict[Any, Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, cursor: Any, item: Item) -> None:
        """Put an item in its place; one of the same cursor is replaced."""
        if cursor not in self._items:
            if not self._cursors or self._cursors[-1] < cursor:
                self._cursors.append(cursor)
            else:
                self._cursors.insert(bisect_left(self._cursors, cursor), cursor)
        self._items[cursor] = item

    def discard(self, cursor: Any) -> None:
        """Remove the item of a cursor, if it is there."""
        if self._items.pop(cursor, None) is not None:
            del self._cursors[bisect_left(self._cursors, cursor)]

    def after(self, cursor: Any = None) -> Iterator[Item]:
        """Yield the items beyond a cursor, or all, in order; not to be changed meanwhile."""
        first = 0 if cursor is None else bisect_right(self._cursors, cursor)
        for place in range(first, len(self._cursors)):
            yield self._items[self._cursors[place]]

    def before(self, cursor: Any = None) -> Iterator[Item]:
        """Yield the items ahead of a cursor, or all, the last first; otherwise as `after`."""
        stop = len(self._cursors) if cursor is None else bisect_left(self._cursors, cursor)
        for place in range(stop - 1, -1, -1):
            yield self._items[self._cursors[place]]


def page(items: Iterator[Item], most: int) -> tuple[list[Item], bool]:
    """Return at most so many items, and whether there are more."""
    found = list(islice(items, most + 1))
    return found[:most], len(found) > most
