"""Where snapshots come from: a server on the network, or one in this process."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cim_hal.client.session import open_device
from cim_hal.errors import AuthenticationError, CimError, KeyFileError, TargetError
from cim_hal.server.status_snapshot import StatusSnapshot
from cim_hal.watch.poller import LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cim_hal.client.session import Session
    from cim_hal.machine.telemetry import Telemetry
    from cim_hal.protocol.wire.messages.status import StatusReport

__all__ = ["LocalSource", "ServerSource"]

TIMEOUT_S = 2.0
LATE_S = 5.0  # age of a snapshot at which the server counts as stuck


class ServerSource:
    """Asks a server, as one of its clients; reconnects by itself.

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

    def read(self) -> StatusSnapshot:
        """Return what the server reports now, or why it reports nothing.

        Raises
        ------
        AuthenticationError, KeyFileError, TargetError
            The server can never be asked.
        """
        is_new = self._session is None
        try:
            session = self._session = self._session or self._open()
            status = session.status()
            past = _past(session, status) if is_new else ()
            return StatusSnapshot(self._target, status, session.metrics(), past)
        except (AuthenticationError, KeyFileError, TargetError):
            raise
        except CimError as error:
            self.close()
            return StatusSnapshot(self._target, trouble=str(error))

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
    """Reads the snapshots of a server in this process.

    Parameters
    ----------
    target : str
        Endpoint of the server.
    latest : callable
        Returns the newest snapshot; None while the server starts.
    """

    def __init__(self, target: str, latest: Callable[[], StatusSnapshot | None]) -> None:
        self._target = target
        self._latest = latest

    def read(self) -> StatusSnapshot:
        """Return the newest snapshot, with a trouble if it is too old."""
        snapshot = self._latest()
        if snapshot is None:
            return StatusSnapshot(self._target, trouble="the server is starting")
        age_s = time.monotonic() - snapshot.taken_at
        if age_s > LATE_S:
            return replace(snapshot, trouble=f"the server has said nothing for {age_s:.0f} s")
        return snapshot

    def close(self) -> None:
        """Do nothing: nothing is held."""


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
