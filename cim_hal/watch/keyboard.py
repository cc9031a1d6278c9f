"""Single keys from a terminal, while something else is on the screen."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from typing import Any

try:
    import termios
    import tty
except ImportError:  # Windows: there is no such terminal, and Ctrl-C still ends
    termios = tty = None

__all__ = ["Keyboard"]


class Keyboard:
    """Reads keys as they are pressed; a context manager that leaves the terminal as it was.

    Where the input is no terminal no key is ever pressed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._file = stream.fileno() if termios and stream.isatty() else None
        self._before: list[Any] = []

    def wait(self, seconds: float) -> str:
        """Return the key pressed within `seconds`, or nothing."""
        if self._file is None:
            time.sleep(seconds)
            return ""
        if not select.select([self._file], [], [], seconds)[0]:
            return ""
        pressed = os.read(self._file, 64)
        return pressed.decode("utf-8", "replace")[:1] if pressed else "\x04"

    def __enter__(self) -> Self:
        if self._file is not None and termios and tty:
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and termios:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
