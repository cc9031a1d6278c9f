"""A conversation with a server: hello, requests with their session, bye."""

from __future__ import annotations

import secrets
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from cim_hal.errors import CimError, RemoteProtocolError, UnknownReferenceError, VersionError
from cim_hal.protocol.faults import as_error
from cim_hal.protocol.messages import Bye, Fault, Hello, Message, Welcome
from cim_hal.protocol.packet import ID_BYTES, Kind, Packet
from cim_hal.protocol.version import NEWEST, OLDEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cim_hal.client.transport.base import Transport
    from cim_hal.protocol.version import Version

__all__ = ["Connection"]

Answer = TypeVar("Answer", bound="Message")


class Connection:
    """Asks a server over a transport; faults are raised.

    A server that forgot the session, or was started anew, is greeted again.

    Parameters
    ----------
    transport : Transport
    timeout_s : float
        How long the server may take for an answer.
    """

    def __init__(self, transport: Transport, *, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self.welcome = self._hello()

    def ask(self, body: Message, *expected: type[Answer], wait_s: float = 0.0) -> Answer:
        """Send a request and return its answer; `wait_s` is added to the time it may take."""
        return self.ask_packet(body, *expected, wait_s=wait_s)[0]

    def ask_packet(
        self, body: Message, *expected: type[Answer], wait_s: float = 0.0
    ) -> tuple[Answer, tuple[NDArray[Any], ...]]:
        """Send a request and return its answer with the arrays that came with it."""
        try:
            return self._ask_once(body, expected, wait_s)
        except UnknownReferenceError as error:
            if error.details.get("kind") != "session":
                raise
            self.welcome = self._hello()
            return self._ask_once(body, expected, wait_s)

    def need(self, version: Version, what: str) -> None:
        """Refuse to ask an older server for what it does not know.

        Raises
        ------
        VersionError
            The version agreed is older than `version`.
        """
        agreed = self.welcome.protocol
        if agreed < version:
            needed, spoken = (f"{major}.{minor}" for major, minor in (version, agreed))
            raise VersionError(
                f"{what} needs protocol {needed}, the server speaks {spoken}",
                hint="update cim-hal on the server",
            )

    def send_all(
        self,
        requests: Iterable[tuple[Message, NDArray[Any]]],
        expected: type[Message],
        *,
        window: int,
    ) -> None:
        """Send requests with an array each, at most `window` of them unanswered."""
        packets = (self._packet(body, array) for body, array in requests)
        replies = self._transport.pipeline(packets, window=window, patience_s=self._timeout_s)
        with closing(replies):  # at once, and not when the traceback of an error goes
            for reply in replies:
                _checked(reply, (expected,))

    def bye(self) -> None:
        """End the session if the server can still be told."""
        patience_s = min(self._timeout_s, 1.0)
        try:
            self._transport.exchange(self._packet(Bye()), patience_s=patience_s)
        except CimError:
            return

    def _ask_once(
        self, body: Message, expected: tuple[type[Answer], ...], wait_s: float
    ) -> tuple[Answer, tuple[NDArray[Any], ...]]:
        patience_s = self._timeout_s + wait_s
        reply = self._transport.exchange(self._packet(body), patience_s=patience_s)
        return _checked(reply, expected), reply.buffers

    def _hello(self) -> Welcome:
        hello = Hello(protocols=(OLDEST, NEWEST), client=f"cim-hal {version('cim-hal')}")
        packet = Packet(Kind.REQUEST, secrets.token_bytes(ID_BYTES), hello)
        return _checked(self._transport.exchange(packet, patience_s=self._timeout_s), (Welcome,))

    def _packet(self, body: Message, *buffers: NDArray[Any]) -> Packet:
        session = self.welcome.session
        return Packet(Kind.REQUEST, secrets.token_bytes(ID_BYTES), body, session, buffers)


def _checked(reply: Packet, expected: tuple[type[Answer], ...]) -> Answer:
    if isinstance(reply.body, Fault):
        raise as_error(reply.body)
    if not isinstance(reply.body, expected):
        names = " or ".join(cls.__name__ for cls in expected)
        raise RemoteProtocolError(f"the server answered with {reply.body.t}, not with {names}")
    return reply.body
