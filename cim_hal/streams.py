"""Standard streams of a command: output that cannot be written ends it with one line.

Errors are raised where the operating system reports them, below Python's buffers, so that whatever
prints (click, rich, a plain `print`) ends alike.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

import click

__all__ = ["OutputError", "drop_output", "prepare_streams"]


class OutputError(click.ClickException):
    """Standard output is full, closed, or nobody reads it."""

    def __init__(self, cause: OSError) -> None:
        why = "it is closed" if cause.errno == errno.EBADF else cause.strerror
        super().__init__(f"cannot write to standard output: {why}")


class _Output(io.FileIO):
    """Standard output. Once dropped it takes what is left in buffers, and does not write it."""

    has_failed = is_dropped = False

    def write(self, data: Any, /) -> int | None:
        if self.is_dropped or not data:  # click tries out streams by writing nothing
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self.has_failed = True
            raise OutputError(error) from None


class _Diagnostics(io.FileIO):
    """Standard error. Where it cannot be written, nobody could be told: what is written is lost."""

    def write(self, data: Any, /) -> int | None:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Replace the standard streams of this process, and those that its parent has closed.

    A closed descriptor is opened again, or the next file of the process would take its number and
    get what is meant for the stream. Writing to a standard output that was closed fails.
    """
    _reopen()
    sys.stdout = _replaced(sys.stdout, sys.__stdout__, 1, _Output)
    sys.stderr = _replaced(sys.stderr, sys.__stderr__, 2, _Diagnostics)


def _reopen() -> None:
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest free number: this one
            os.set_inheritable(opened, True)  # noqa: FBT003  no keyword


def _replaced(
    stream: TextIO | None, original: TextIO | None, descriptor: int, raw: type[io.FileIO]
) -> TextIO:
    """Return a stream over `raw`; a stream that is not the operating system's stays as it is."""
    if stream is not None and (stream is not original or not _is_file(stream)):
        return stream
    if stream is not None:
        with suppress(OSError):
            stream.flush()
    file = raw(descriptor, "w", closefd=False)
    is_unbuffered = getattr(stream, "write_through", False)  # PYTHONUNBUFFERED, python -u
    return io.TextIOWrapper(
        file if is_unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
        write_through=is_unbuffered,
    )


def _is_file(stream: TextIO) -> bool:
    buffer = getattr(stream, "buffer", None)
    return type(getattr(buffer, "raw", buffer)) is io.FileIO  # a console of Windows is another type


def drop_output() -> None:
    """Forget what could not be written: Python would try again, and fail, as it ends."""
    buffer: Any = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if isinstance(raw, _Output):
        raw.is_dropped = raw.has_failed
