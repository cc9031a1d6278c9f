"""Where snapshots come from: a server on the network, or the board of one in this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cim_hal.client.session import open_device
from cim_hal.errors import AuthenticationError, CimError, KeyFileError, TargetError
from cim_hal.protocol.wire.messages.status import StatusReport, Throughput
from cim_hal.protocol.wire.version import NEWEST
from cim_hal.watch.snapshot import LENGTH, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from cim_hal.client.session import Session
    from cim_hal.machine.telemetry import Telemetry
    from cim_hal.server.board import Board

__all__ = ["LocalSource", "ServerSource"]

TIMEOUT_S = 2.0
LATE_S = 5.0  # after which a board is called stale
SINCE = (1, 2)  # the protocol that tells what goes on


class ServerSource:
    """Asks a server, as one of its clients; connects again by itself.

    Parameters
    ----------
    target : str
        As `open_device` takes it.
    key, server_key
        As `open_device` takes them.
    """

    def __init__(
        self, target: str, *, key: Path | None = None, server_key: str | None = None
    ) -> None:
        self._target = target
        self._key, self._server_key = key, server_key
        self._session: Session | None = None

    def read(self) -> Snapshot:
        """Return what the server says now, or why it says nothing.

        Raises
        ------
        AuthenticationError, KeyFileError, TargetError
            It never will.
        """
        is_new = self._session is None
        try:
            session = self._session = self._session or self._open()
            if session.protocol < SINCE:
                return _of_old(self._target, session)
            status = session.status()
            past = _past(session, status) if is_new else ()
            return Snapshot(self._target, status, session.metrics(), past)
        except (AuthenticationError, KeyFileError, TargetError):
            raise
        except CimError as error:
            self.close()
            return Snapshot(self._target, trouble=str(error))

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> Session:
        return open_device(
            self._target, timeout_s=TIMEOUT_S, key=self._key, server_key=self._server_key
        )


class LocalSource:
    """Reads what the server of this process posts."""

    def __init__(self, target: str, board: Board) -> None:
        self._target = target
        self._board = board

    def read(self) -> Snapshot:
        """Return what was posted last."""
        posted = self._board.latest
        if posted is None:
            return Snapshot(self._target, trouble="the server is starting")
        age_s = time.monotonic() - posted.at
        trouble = f"the server has said nothing for {age_s:.0f} s" if age_s > LATE_S else ""
        return Snapshot(self._target, posted.status, posted.metrics, trouble=trouble)

    def close(self) -> None:
        """Nothing is held."""


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


def _of_old(target: str, session: Session) -> Snapshot:
    """Return the little that a server of before 1.2 tells."""
    description = session.describe()
    status = StatusReport(
        device=description.capabilities.name,
        software="",
        instance="0" * 32,
        uptime_s=0.0,
        state="running" if description.busy else "idle",
        queued=description.queued,
        n_sessions=0,
        throughput=Throughput(bucket_s=5.0),
    )
    spoken, needed = (f"{major}.{minor}" for major, minor in (session.protocol, NEWEST))
    note = f"the server speaks protocol {spoken}: it says no more than this ({needed} would)"
    return Snapshot(target, status, note=note)
