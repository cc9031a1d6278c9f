"""Structured logging, for people or as JSON, and the audit log: who did what.

A line is an ordinary record of `logging`. An event (`event`) has fields; every line, also one that
a driver logs with its own logger, has the context of its thread (`about`): the job, the session,
the user, the peer.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, TextIO, TypeAlias

from cim_hal.text import counted, printable

if TYPE_CHECKING:
    from contextvars import Token

    from cim_hal.errors import Detail
    from cim_hal.protocol.wire.roles import User

__all__ = [
    "AUDIT",
    "FORMATS",
    "HumanFormatter",
    "JsonFormatter",
    "LogFormat",
    "PlainFormatter",
    "about",
    "audit",
    "configure",
    "event",
    "keep_audit_in",
]

MAX_QUEUED = 10_000  # lines of the audit log that wait for its disk
CLOSE_S = 5.0  # for them at the end
PART = 1000  # characters that a pipe takes without waiting: at most 4096 bytes
AUDIT = "cim_hal.audit"  # the logger of what was done

LogFormat: TypeAlias = Literal["human", "json"]
FORMATS: tuple[LogFormat, ...] = ("human", "json")

_AUDIT, log = logging.getLogger(AUDIT), logging.getLogger(__name__)

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


class about:  # noqa: N801  a context manager that reads like a word
    """Add fields to every line that is logged in a block; empty values are left out.

    >>> with about(job="de6d93aa", user="alice"):
    ...     logging.getLogger("my_lab").info("the laser is warm")
    """

    def __init__(self, **fields: str) -> None:
        self._fields = fields
        self._token: Token[Mapping[str, str]] | None = None

    def __enter__(self) -> Self:
        said = {name: value for name, value in self._fields.items() if value}
        self._token = _ABOUT.set({**_ABOUT.get(), **said})
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _ABOUT.reset(self._token)


def event(
    logger: logging.Logger, what: str, facts: Mapping[str, Detail], *, level: int = logging.INFO
) -> None:
    """Log an event, with fields that a program can read."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", what, extra={"facts": dict(facts)})


def audit(what: str, user: User | None = None, /, **facts: Detail) -> None:
    """Log who did what; `user` is None for unknown peers and for the server itself."""
    if _AUDIT.isEnabledFor(logging.INFO):
        who = {} if user is None else {"user": user.name, "as": user.role.label}
        event(_AUDIT, what, who | facts)


def keep_audit_in(path: Path) -> None:
    """Append the events of the audit log to a file, as JSON, whatever the level of the log."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if path.is_file() and path.stat().st_mode & 0o077:
        path.chmod(0o600)  # it names users and what they did
    logger = logging.getLogger(AUDIT)
    logger.setLevel(logging.INFO)
    logger.addHandler(_QueuedFile(file))


class _QueuedFile(logging.Handler):
    """Writes lines in a thread of its own: a slow or full disk holds up no thread that logs.

    Lines beyond `MAX_QUEUED`, and those that cannot be written, are lost; a line says how many.
    """

    def __init__(self, file: int) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._file = file
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._n_lost, self._counting = 0, threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="cim-hal audit", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it as lost."""
        if self._lines.qsize() >= MAX_QUEUED:
            self._count_lost()
        else:
            self._tell_lost()
            self._lines.put(self.format(record))

    def close(self) -> None:
        """Write what is queued, for `CLOSE_S` at most, and close the file."""
        self._tell_lost()
        self._lines.put(None)
        self._thread.join(CLOSE_S)
        super().close()

    def _count_lost(self) -> None:
        with self._counting:
            self._n_lost += 1

    def _tell_lost(self) -> None:
        with self._counting:
            n_lost, self._n_lost = self._n_lost, 0
        if n_lost:
            level = {"levelno": logging.WARNING, "levelname": "WARNING"}
            told = {"name": AUDIT, "msg": "lines lost", "facts": {"count": n_lost}}
            self._lines.put(self.format(logging.makeLogRecord(level | told)))

    def _write_all(self) -> None:
        is_failing = is_torn = False
        while (line := self._lines.get()) is not None:
            data, n_done = b"\n" * is_torn + line.encode() + b"\n", 0
            try:
                while n_done < len(data):
                    n_done += os.write(self._file, data[n_done:])
                is_failing = is_torn = False
            except OSError as error:
                self._count_lost()
                if not is_failing:
                    log.warning("the audit log loses lines: it cannot be written: %s", error)
                is_failing, is_torn = True, is_torn or n_done > 0
        os.close(self._file)


def configure(*, level: str = "warning", style: LogFormat = "human", stream: TextIO) -> None:
    """Send the log of this process to a stream, in one of the two formats; call it once."""
    handler = _UnhurriedHandler(stream)
    handler.setLevel(level.upper())
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class _UnhurriedHandler(logging.StreamHandler[TextIO]):
    """Writes lines as long as somebody reads them: a full pipe holds up no thread that logs."""

    n_lost = 0  # lines since the last one that was written

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as lost."""
        if not self._has_room():
            self.n_lost += 1
            return
        if self.n_lost:
            self.stream.write(
                f"lost {counted(self.n_lost, 'line')} of the log, which nobody read\n"
            )
            self.n_lost = 0
        try:
            line = self.format(record) + self.terminator
            for start in range(0, len(line), PART):
                if not self._has_room():
                    return
                self.stream.write(line[start : start + PART])
                self.flush()
        except Exception:  # noqa: BLE001  as all handlers of `logging` do
            self.handleError(record)

    def _has_room(self) -> bool:
        """Return whether a pipe takes another `PART` at once; files always do."""
        try:
            return bool(select.select([], [self.stream.fileno()], [], 0.0)[1])
        except (OSError, ValueError):  # no file of the system
            return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, event or message, fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts: Mapping[str, Detail] | None = getattr(record, "facts", None)
        line: dict[str, Detail] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message" if facts is None else "event": record.getMessage(),
            **_ABOUT.get(),
            **(facts or {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """The message alone, and a traceback below it; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        return "\n    | ".join(self.lines(record))

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of the message and of the traceback."""
        lines = record.getMessage().split("\n")
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        return list(map(printable, lines))


class HumanFormatter(PlainFormatter):
    """Time, level, sentence, then fields as ``name=value``.

    Control characters are escaped. Further lines of a message, such as the traceback of a driver in
    its own process, stand below it and begin with a bar, so that none can pass for a record.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback if there is one."""
        facts: Mapping[str, Detail] = getattr(record, "facts", None) or {}
        fields = {**_ABOUT.get(), **facts}
        said = "".join(f" {name}={_plain(value)}" for name, value in fields.items())
        when = self.formatTime(record)
        first, *more = self.lines(record)
        return "\n    | ".join([f"{when} {record.levelname} {first}{said}", *more])


def _plain(value: Detail) -> str:
    text = str(value)
    is_word = text.isprintable() and text.isascii() and text and not set(' "=') & set(text)
    return text if is_word else json.dumps(value, default=str)
