"""A tape on the network: a ROUTER socket in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import zmq

from cim_hal.cassette.player import Player
from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.server.router import bind
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cim_hal.cassette.tape import Tape

__all__ = ["PlayerServer"]

TICK_MS = 50


class PlayerServer:
    """Serves a tape at an endpoint; a context manager.

    Parameters
    ----------
    tape : Tape
    listen : str
        ``tcp://host:port``, port 0 for a free one, or ``ipc://path``.
    insecure : bool
        Allow an address that other machines reach.

    Attributes
    ----------
    endpoint : str
        Where it listens, once entered.

    Raises
    ------
    BindError
        The endpoint cannot be listened on, or is open without `insecure`.
    """

    def __init__(self, tape: Tape, *, listen: str = DEFAULT, insecure: bool = False) -> None:
        check_endpoint(listen, insecure=insecure)
        self._player, self._listen = Player(tape), listen
        self._is_stopping = False
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            self.endpoint = bind(self._socket, self._listen)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._thread = threading.Thread(target=self._loop, name="cim-hal replay", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._thread.join()
        self._context.destroy(linger=0)

    def _loop(self) -> None:
        while not self._is_stopping:
            if self._socket.poll(TICK_MS):
                peer, *frames = self._socket.recv_multipart()
                try:
                    self._socket.send_multipart([peer, *self._reply(frames)], zmq.NOBLOCK)
                except zmq.ZMQError:
                    continue  # the peer has gone

    def _reply(self, frames: Sequence[bytes]) -> list[bytes]:
        try:
            reply = self._player.answer(decode(frames))
        except ProtocolError as error:
            request = bytes.fromhex(str(error.details.get("request", NO_ID.hex())))
            reply = Packet(Kind.REPLY, request, to_wire(error))
        return [bytes(frame) for frame in encode(reply)]
