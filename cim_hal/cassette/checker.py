"""Comparison of a live server with a cassette: does it still reply as it did.

The recorded requests are repeated in their order, with the tokens of the live server. Ids, keys,
times and fields that change by themselves are not compared. Samples are compared bit by bit if
the machine calls itself reproducible, else by number, shape and type.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CassetteError, UnknownReferenceError
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.messages import (
    REQUEST,
    CommitCouplings,
    CouplingChunk,
    CouplingsLoaded,
    ErrorMessage,
    JobStatus,
    ResultBatch,
    Sample,
    TraceBatch,
    UploadOpened,
    WaitJob,
    Welcome,
)
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet

if TYPE_CHECKING:
    from cim_hal.cassette.file import Cassette, RecordedExchange
    from cim_hal.client.transport.base import Transport
    from cim_hal.protocol.wire.messages import Message

__all__ = ["Comparison", "Difference", "check"]

REPLY_TIMEOUT_S = 30.0
JOB_S = 600.0
POLL_S = 1.0
# Fields that change with each start of a server, or with time.
VOLATILE_FIELDS = frozenset(
    {"instance", "server", "session", "job", "upload", "queued", "busy", "received", "epoch", "seq"}
)
VOLATILE_SUFFIXES = ("_s", "_at", "_ms")
# Requests whose replies describe the present moment only.
VOLATILE_REQUESTS = frozenset(
    {
        "bye",
        "calibration.list",
        "couplings.list",
        "device.history",
        "device.status",
        "job.list",
        "lock.info",
        "metrics",
        "ping",
        "safety.info",
        "server.status",
    }
)
_TOKEN = re.compile(r"^[0-9a-f]{32}$")


@dataclass(frozen=True)
class Difference:
    """A field of a reply that differs from the cassette."""

    exchange: int  # its number, from 1
    request: str  # its type
    path: str  # where in the reply, with dots
    # Both values, cut to 200 characters.
    recorded: str
    live: str


@dataclass(frozen=True)
class Comparison:
    """Result of `check`; uploads of couplings that the server already holds are skipped."""

    compared: int
    skipped: int
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def check(
    cassette: Cassette, transport: Transport, *, timeout_s: float = REPLY_TIMEOUT_S
) -> Comparison:
    """Repeat the requests of a cassette to a live server and compare the replies.

    The transport stays open; `timeout_s` is for each reply. `CassetteError` if the cassette holds
    no exchange, `TransportError` if the server does not reply in time.
    """
    if not cassette.exchanges:
        raise CassetteError("the cassette holds no exchange")
    return _Checker(transport, timeout_s).run(cassette)


@dataclass(eq=False)
class _Checker:
    transport: Transport
    timeout_s: float
    tokens: dict[str, str] = field(default_factory=dict)
    skipped_uploads: set[str] = field(default_factory=set)  # the live server had the couplings
    is_reproducible: bool = False

    def run(self, cassette: Cassette) -> Comparison:
        compared = skipped = 0
        differences: list[Difference] = []
        for number, exchange in enumerate(cassette.exchanges, start=1):
            body = exchange.request.body
            is_upload = isinstance(body, CouplingChunk | CommitCouplings)
            if is_upload and body.upload in self.skipped_uploads:
                skipped += 1
                continue
            live = self._ask(exchange)
            compared += 1
            self._learn(exchange, live)
            for path, recorded, now in self._compare(exchange, live):
                differences.append(Difference(number, body.t, path, _text(recorded), _text(now)))
        return Comparison(compared, skipped, tuple(differences))

    def _ask(self, exchange: RecordedExchange) -> Packet:
        request = self._for_live_server(exchange.request)
        ends = _is_final(exchange.reply.body)
        deadline = time.monotonic() + JOB_S
        while True:
            reply = self.transport.exchange(request, timeout_s=self.timeout_s)
            waits = isinstance(request.body, WaitJob) and ends and not _is_final(reply.body)
            if not waits or time.monotonic() >= deadline:
                return reply
            request = replace(request, id=secrets.token_bytes(ID_BYTES))

    def _for_live_server(self, request: Packet) -> Packet:
        """Return a recorded request with the live server's tokens."""
        fields = {name: self._live(value) for name, value in request.body.model_dump().items()}
        if isinstance(request.body, Sample):
            fields["key"] = secrets.token_hex(ID_BYTES)
        if isinstance(request.body, WaitJob):
            fields["timeout_s"] = POLL_S
        return Packet(
            Kind.REQUEST,
            secrets.token_bytes(ID_BYTES),
            REQUEST.validate_python(fields),
            self._live(request.session),
            request.buffers,
            request.epoch,
        )

    def _live(self, value: Any) -> Any:
        return self.tokens.get(value, value) if isinstance(value, str) else value

    def _learn(self, exchange: RecordedExchange, live: Packet) -> None:
        recorded = exchange.reply.body
        if isinstance(live.body, Welcome):
            self.is_reproducible = live.body.capabilities.reproducible
        if isinstance(recorded, UploadOpened) and isinstance(live.body, CouplingsLoaded):
            self.skipped_uploads.add(recorded.upload)
        if type(recorded) is type(live.body):
            theirs = live.body.model_dump()
            for name, value in recorded.model_dump().items():
                if isinstance(value, str) and _TOKEN.match(value):
                    self.tokens[value] = theirs[name]

    def _compare(self, exchange: RecordedExchange, live: Packet) -> Iterator[tuple[str, Any, Any]]:
        recorded = exchange.reply
        if _holds_couplings(recorded.body, live.body):
            return
        if type(recorded.body) is not type(live.body):
            yield "t", _summary(recorded.body), _summary(live.body)
            return
        if exchange.request.body.t in VOLATILE_REQUESTS or not _is_final(recorded.body):
            return
        yield from _differing("", recorded.body.model_dump(), live.body.model_dump())
        yield from self._compare_buffers(recorded, live)

    def _compare_buffers(self, recorded: Packet, live: Packet) -> Iterator[tuple[str, Any, Any]]:
        shapes = [(each.dtype.str, each.shape) for each in recorded.buffers]
        now = [(each.dtype.str, each.shape) for each in live.buffers]
        if shapes != now:
            yield "buffers", shapes, now
        elif self.is_reproducible and isinstance(live.body, ResultBatch | TraceBatch):
            for at, (one, other) in enumerate(zip(recorded.buffers, live.buffers, strict=True)):
                unlike = int(np.count_nonzero(one != other))
                if unlike:
                    yield f"buffers.{at}", f"{one.size} values", f"{unlike} of them differ"


def _holds_couplings(recorded: Message, live: Message) -> bool:
    """Whether the replies differ only because the live server already holds the couplings."""
    if isinstance(recorded, ErrorMessage) and recorded.code == UnknownReferenceError.code:
        return recorded.details.get("kind") == "coupling" and isinstance(live, JobStatus)
    return isinstance(recorded, UploadOpened) and isinstance(live, CouplingsLoaded)


def _differing(path: str, recorded: Any, live: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(recorded, dict) and isinstance(live, dict):
        for name in sorted(recorded.keys() | live.keys()):
            if name not in VOLATILE_FIELDS and not name.endswith(VOLATILE_SUFFIXES):
                where = f"{path}.{name}" if path else name
                yield from _differing(where, recorded.get(name), live.get(name))
    elif recorded != live:
        yield path, recorded, live


def _is_final(body: Message) -> bool:
    """Whether a reply is about anything but a job that has not ended."""
    return not isinstance(body, JobStatus) or body.state in TERMINAL


def _summary(body: Message) -> str:
    return f"{body.t}: {body.code}: {body.message}" if isinstance(body, ErrorMessage) else body.t


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
