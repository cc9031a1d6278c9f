"""Snapshots of a server, and a thread that polls them, so that who shows them never waits."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cim_hal.client.options import ConnectionOptions
from cim_hal.client.session import Session, open_device
from cim_hal.errors import (
    AuthenticationError,
    CapabilityError,
    CimError,
    KeyFileError,
    SessionError,
    TargetError,
)
from cim_hal.machine.config import MachineConfig
from cim_hal.server.status_snapshot import StatusSnapshot

if TYPE_CHECKING:
    from cim_hal.client.options import ConnectionKeywords
    from cim_hal.machine.telemetry import Telemetry
    from cim_hal.protocol.wire.messages.status import StatusReport

__all__ = ["LENGTH", "History", "Poller", "local_snapshots", "server_snapshots"]

LENGTH = 300  # values of a reading that are kept
TIMEOUT_S = 2.0
LATE_S = 5.0  # age of a snapshot at which the server counts as stuck

log = logging.getLogger(__name__)


def server_snapshots(
    target: MachineConfig | str, *, key: str | Path | None = None, server_key: str | None = None
) -> Generator[StatusSnapshot]:
    """Yield what a server reports, or why it reports nothing; reconnects by itself.

    It asks as one of the server's clients; parameters as of `open_device`. An error that says the
    server can never be asked is raised: `AuthenticationError`, `KeyFileError`, `TargetError`.
    """
    session: Session | None = None
    config = MachineConfig.of(target)
    try:
        while True:
            may_ask_more = False
            try:
                if session is None:
                    session, may_ask_more = _connected(config, key, server_key)
                status = session.status()
                past = _past(session, status) if may_ask_more else ()
                snapshot = StatusSnapshot(config.driver, status, session.metrics(), past)
            except (AuthenticationError, KeyFileError, TargetError):
                raise
            except CimError as error:
                if session is not None:
                    session.close()
                session = None
                snapshot = StatusSnapshot(config.driver, trouble=str(error))
            yield snapshot
    finally:
        if session is not None:
            session.close()


def _connected(
    target: MachineConfig, key: str | Path | None, server_key: str | None
) -> tuple[Session, bool]:
    """Return a session, and whether the server knows it: one that is full answers without."""
    options: ConnectionKeywords = {"timeout_s": TIMEOUT_S, "key": key, "server_key": server_key}
    try:
        return open_device(target, **options), True
    except (SessionError, CapabilityError):
        return Session(ConnectionOptions.of(target, options)), False


def local_snapshots(
    target: str, latest: Callable[[], StatusSnapshot | None]
) -> Generator[StatusSnapshot]:
    """Yield the newest snapshot of the server `target` in this process.

    It has a trouble if it is too old, or if `latest` returns None: the server is starting.
    """
    while True:
        snapshot = latest() or StatusSnapshot(target, trouble="the server is starting")
        age_s = time.monotonic() - snapshot.taken_at
        if age_s > LATE_S:
            snapshot = replace(snapshot, trouble=f"the server has said nothing for {age_s:.0f} s")
        yield snapshot


def _past(session: Session, status: StatusReport) -> tuple[Telemetry, ...]:
    newest = status.machine.number if status.machine else 0
    found: list[Telemetry] = []
    after = max(newest - LENGTH, 0)
    while after < newest:
        history = session.history(after=after)
        if not history.telemetry:
            break
        found += history.telemetry
        after = history.first + len(history.telemetry) - 1
    return tuple(found)


class Poller:
    """Reads a source every `every_s` seconds; a context manager that closes it.

    `on_snapshot` receives each snapshot and the history, in the thread of the poller.
    """

    def __init__(
        self,
        source: Generator[StatusSnapshot],
        *,
        every_s: float,
        on_snapshot: Callable[[StatusSnapshot, History], None] = lambda *_: None,
    ) -> None:
        self._source = source
        self._every_s = every_s
        self._on_snapshot = on_snapshot
        self._ended = threading.Event()
        self.latest: StatusSnapshot | None = None
        self.history = History()
        self.n_polls = 0  # each may have brought something new
        self.failure: CimError | None = None  # why polling has ended; the last snapshot says so
        self._thread = threading.Thread(target=self._loop, name="cim-hal poller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # Waits as long as one poll takes: a thread left behind would hold its sockets, and they
        # the end of the process.
        self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._ended.is_set():
                began = time.monotonic()
                self._show(next(self._source).after(self.latest))
                self._ended.wait(max(self._every_s - (time.monotonic() - began), 0.01))
        except Exception as error:  # noqa: BLE001  whoever waits is told
            self._fail(error)
        finally:
            self._source.close()

    def _show(self, snapshot: StatusSnapshot) -> None:
        self.history.add(snapshot)
        self.latest = snapshot
        self.n_polls += 1
        self._on_snapshot(snapshot, self.history)

    def _fail(self, error: Exception) -> None:
        """End as failed: whoever waits for snapshots must not wait for ever."""
        failure = error
        if not isinstance(failure, CimError):
            log.exception("polling ended")
            failure = CimError(f"internal error: {type(error).__name__}: {error}")
        with suppress(Exception):
            if self.latest is not None:
                self._show(replace(self.latest, trouble=str(failure)))
        self.failure = failure


class History:
    """The last values of each numeric reading, oldest first, as ``(seconds since 1970, value)``."""

    def __init__(self, *, length: int = LENGTH) -> None:
        self._length = length
        self._last_at = float("-inf")
        self.series: dict[str, deque[tuple[float, float]]] = {}
        self.units: dict[str, str] = {}

    def add(self, snapshot: StatusSnapshot) -> None:
        """Append the telemetry of a snapshot, if it is new."""
        machine = snapshot.status and snapshot.status.machine
        current = [machine.telemetry] if machine and machine.telemetry else []
        self._append([*snapshot.past, *current])

    def values(self, name: str) -> list[float]:
        """Return the values of a reading."""
        return [value for _, value in self.series.get(name, ())]

    def as_json(self) -> dict[str, Any]:
        """Return the history in the types of JSON; a value that is not finite is null."""
        return {
            name: {
                "unit": self.units[name],
                "points": [(at, value if math.isfinite(value) else None) for at, value in points],
            }
            for name, points in self.series.items()
        }

    def _append(self, telemetry: Iterable[Telemetry]) -> None:
        for moment in telemetry:
            if moment.taken_at <= self._last_at:
                continue
            self._last_at = moment.taken_at
            for reading in moment.readings:
                if isinstance(reading.value, bool | str):
                    continue
                points = self.series.setdefault(reading.name, deque(maxlen=self._length))
                points.append((moment.taken_at, float(reading.value)))
                self.units[reading.name] = reading.unit
