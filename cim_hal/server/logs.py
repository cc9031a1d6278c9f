"""Structured logging, for people or as JSON, and the audit log: who did what.

A line is an ordinary record of `logging`. An event (`event`) has fields; every line, also one that
a driver logs with its own logger, has the context of its thread (`about`): the job, the session,
the user, the peer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, TextIO, TypeAlias

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
    "about",
    "audit",
    "configure",
    "event",
    "keep_audit_in",
]

AUDIT = "cim_hal.audit"  # the logger of what was done

LogFormat: TypeAlias = Literal["human", "json"]
FORMATS: tuple[LogFormat, ...] = ("human", "json")

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
    who = {} if user is None else {"user": user.name, "as": user.role.label}
    event(logging.getLogger(AUDIT), what, who | facts)


def keep_audit_in(path: Path) -> None:
    """Append the events of the audit log to a file, as JSON, whatever the level of the log."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger(AUDIT)
    log.setLevel(logging.INFO)
    log.addHandler(handler)


def configure(*, level: str = "warning", style: LogFormat = "human", stream: TextIO) -> None:
    """Send the log of this process to a stream, in one of the two formats; call it once."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(level.upper())
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


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


class HumanFormatter(logging.Formatter):
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
        first, *more = map(_escaped, record.getMessage().split("\n"))
        line = f"{when} {record.levelname} {first}{said}"
        line += "".join(f"\n    | {rest}" for rest in more)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _plain(value: Detail) -> str:
    text = str(value)
    is_word = text.isprintable() and text.isascii() and text and not set(' "=') & set(text)
    return text if is_word else json.dumps(value)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
