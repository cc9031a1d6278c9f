"""Rows that a long comparison keeps, so that it may be stopped and called again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cim_hal.atomic_files import replacing
from qnn_train.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["KeptRows"]


class KeptRows:
    """Rows by name, in a file of JSON that is written after each; nowhere without a path.

    Raises
    ------
    CheckpointError
        The file is none of these, or of another subject.
    """

    def __init__(self, path: Path | None, subject: Mapping[str, str]) -> None:
        self._path, self._subject = path, dict(subject)
        self._rows: dict[str, dict[str, float]] = {}
        if path is not None and path.exists():
            self._rows = self._read(path)

    def row(self, name: str, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the row that is kept, or make it and keep it."""
        if name not in self._rows:
            self._rows[name] = make()
            self._save()
        return self._rows[name]

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            subject, rows = {**found["subject"]}, {**found["rows"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} holds no rows: {error}") from None
        names = {*subject} | {*self._subject}
        other = sorted(n for n in names if subject.get(n) != self._subject.get(n))
        if other:
            raise CheckpointError(
                f"{path} is of a comparison with other values of {', '.join(other)}",
                hint="use another file",
            )
        return rows

    def _save(self) -> None:
        if self._path is None:
            return
        text = json.dumps({"subject": self._subject, "rows": self._rows}, indent=1)
        with replacing(self._path) as file:
            file.write(f"{text}\n".encode())
