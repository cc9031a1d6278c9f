"""Rows of results, a file of JSON lines for each task: what is there is not computed again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["KEY", "Rows"]

KEY = ("task", "method", "classes", "seed")


class Rows:
    """The rows of a folder, each named by task, method, classes and seed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.open()]
        self.all: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._known = {self._key(row) for row in self.all}

    def has(self, **names: Any) -> bool:
        """Tell whether a row is there."""
        return self._key(names) in self._known

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows, at once and for good."""
        for row in rows:
            self.all.append(row)
            self._known.add(self._key(row))
            with (self._folder / f"{row['task']}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(tuple(row[k]) if k == "classes" else row[k] for k in KEY)
