"""A proxy that records the messages between clients and a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from cim_hal.cassette.file import CassetteWriter, Direction
from cim_hal.server.security.endpoint import DEFAULT
from cim_hal.testing.message_proxy import MessageProxy

if TYPE_CHECKING:
    import os

    from cim_hal.client.access import ClientKeys

__all__ = ["Recorder"]


class Recorder:
    """A proxy between clients and a server that records all messages; a context manager.

    Parameters
    ----------
    target : str
        ``tcp://host:port`` or ``ipc://path`` of the server.
    path : path
        A new file. It will hold all couplings and results; its session tokens expire.
    listen : str
        Where clients connect, without keys; by default a free port of the loopback interface.
    keys : ClientKeys, optional
        For a server that asks for keys. To the server the recorder is the client, so everybody
        who connects through it acts as that user.

    Attributes
    ----------
    endpoint : str
        Where it listens, once entered.

    Raises
    ------
    CassetteError
        The file exists, or cannot be written.
    TargetError, BindError
        As of `MessageProxy`.
    """

    def __init__(
        self,
        target: str,
        path: str | os.PathLike[str],
        *,
        listen: str = DEFAULT,
        keys: ClientKeys | None = None,
    ) -> None:
        self._path, self._target = Path(path), target
        self._proxy = MessageProxy(target, listen=listen, keys=keys, on_message=self._watch)
        self._writer: CassetteWriter | None = None

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return self._proxy.endpoint

    @property
    def messages(self) -> int:
        """Messages recorded so far."""
        return self._writer.messages if self._writer else 0

    def __enter__(self) -> Self:
        self._writer = CassetteWriter(self._path, target=self._target)
        try:
            self._proxy.__enter__()
        except BaseException:
            self._writer.close()
            self._path.unlink(missing_ok=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__()
        if self._writer is not None:
            self._writer.close()

    def _watch(self, to_client: bool, client: bytes, frames: list[bytes]) -> None:  # noqa: FBT001
        if self._writer is not None:
            direction = Direction.TO_CLIENT if to_client else Direction.TO_SERVER
            self._writer.write(direction, client, frames)
