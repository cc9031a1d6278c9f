"""Where a session leads, as a value: what is left of a session when it travels."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cim_hal.client.access import keys_for
from cim_hal.client.retries import Retries
from cim_hal.client.transport.async_local import AsyncLocalTransport
from cim_hal.client.transport.base import Transport
from cim_hal.client.transport.local import LocalTransport
from cim_hal.errors import LocalProtocolError, ModelError, TargetError
from cim_hal.machine.driver import Driver
from cim_hal.machine.registry import make_driver

if TYPE_CHECKING:
    from cim_hal.client.access import ClientKeys
    from cim_hal.client.transport.async_base import AsyncTransport

__all__ = ["EPOCH_VARIABLE", "TIMEOUT_S", "ConnectionOptions", "epoch_from_environment"]

TIMEOUT_S = 5.0
EPOCH_VARIABLE = "CIM_HAL_EPOCH"


@dataclass(frozen=True)
class ConnectionOptions:
    """A target, the files of the keys to it, and how patient to be. Pickles where the target does.

    Attributes
    ----------
    target : str, Driver or Transport
    timeout_s : float
    key, server_key : path, optional
        Files are read where the options is opened, which may be in another process.
    retries : Retries
    epoch : int
        Of a lock that stands, to work under it.

    Raises
    ------
    ModelError
        `timeout_s` is not positive.
    """

    target: str | Driver | Transport
    timeout_s: float = TIMEOUT_S
    key: str | os.PathLike[str] | None = None
    server_key: str | os.PathLike[str] | None = None
    retries: Retries = field(default_factory=Retries)
    epoch: int = 0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ModelError(f"timeout_s = {self.timeout_s!r}", hint="it must be positive")

    @property
    def is_endpoint(self) -> bool:
        """Whether it leads to another process."""
        return isinstance(self.target, str) and self.target.startswith(("tcp://", "ipc://"))

    def keys(self) -> ClientKeys | None:
        """Read the keys that the server is to be shown."""
        return keys_for(str(self.target), self.key, self.server_key)

    async def open_async(self) -> AsyncTransport:
        """Return a transport for the running event loop."""
        if self.is_endpoint:
            from cim_hal.client.transport.async_zmq import AsyncZmqTransport

            return AsyncZmqTransport(str(self.target), keys=self.keys())
        local = await asyncio.to_thread(self.open)  # a driver takes its time to start
        if not isinstance(local, LocalTransport):
            raise TargetError(
                f"a {type(local).__name__} does not work in an event loop",
                hint="pass a name, an endpoint such as tcp://host:port, or a Driver",
            )
        return AsyncLocalTransport(local)

    def open(self) -> Transport:
        """Return a transport; of an endpoint, nobody has been spoken to yet."""
        target = self.target
        if isinstance(target, Driver):
            return LocalTransport(target)
        if isinstance(target, Transport):
            return target
        if not isinstance(target, str):
            raise TargetError(
                f"a {type(target).__name__} is not a device",
                hint="pass a name, an endpoint such as tcp://host:port, a Driver or a Transport",
            )
        if self.is_endpoint:
            from cim_hal.client.transport.zmq import ZmqTransport  # zmq takes its time to import

            return ZmqTransport(target, keys=self.keys())
        return LocalTransport(make_driver(target))

    def __reduce__(self) -> tuple[object, ...]:
        if not isinstance(self.target, str):
            raise LocalProtocolError(
                f"a session with a {type(self.target).__name__} of this process has no address",
                hint="serve it (cim-hal serve, spawn_server) and open its endpoint",
            )
        files = self.key, self.server_key
        return ConnectionOptions, (self.target, self.timeout_s, *files, self.retries, self.epoch)


def epoch_from_environment() -> int:
    """Return the epoch of a lock that stands, from ``CIM_HAL_EPOCH``; 0 for none.

    Raises
    ------
    ModelError
        The variable holds something else.
    """
    text = os.environ.get(EPOCH_VARIABLE) or "0"
    if not (text.isascii() and text.isdigit()):
        raise ModelError(f"{EPOCH_VARIABLE} = {text!r}", hint="cim-hal lock prints the epoch")
    return int(text)
