"""One end of the connection between a server and the process of its driver."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.protocol.wire.framing import prefix, read_frames
from cim_hal.server.driver.messages import CODEC, MAX_ARRAY_BYTES

if TYPE_CHECKING:
    from cim_hal.protocol.wire.codec import Buffer
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["Pipe", "PipeClosedError"]


class PipeClosedError(Exception):
    """The other side has closed the pipe, or its process has ended."""


class Pipe:
    """Packets over a connected stream socket. Any thread may send; one thread receives.

    Parameters
    ----------
    end : socket
        The pipe closes it.
    max_bytes : int
        Size of a message that may come in, all frames together.
    """

    def __init__(self, end: socket.socket, *, max_bytes: int = MAX_ARRAY_BYTES) -> None:
        self.max_bytes = max_bytes
        self._socket = end
        self._sending = threading.Lock()

    def send(self, packet: Packet) -> None:
        """Send a packet; returns when the system has taken it.

        Raises
        ------
        PipeClosedError
            The other side is gone.
        LocalProtocolError
            The packet breaks a limit of the format.
        """
        frames = CODEC.encode(packet)
        start = b"".join((prefix(frames), *frames[:2]))
        try:
            with self._sending:
                self._socket.sendall(start)
                for frame in frames[2:]:
                    self._socket.sendall(frame)
        except OSError as error:
            raise PipeClosedError(f"the other side is gone: {error}") from None

    def receive(self) -> Packet:
        """Wait for a packet.

        Raises
        ------
        PipeClosedError
            The other side is gone.
        ProtocolError
            The other side breaks the format; nothing more can be received.
        """
        return CODEC.decode(read_frames(self._read, self.max_bytes))

    def shutdown(self) -> None:
        """Make the receivers of both sides see the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, n_bytes: int) -> Buffer:
        # of numpy: memory is not cleared first, and the arrays that share it are aligned
        frame = np.empty(n_bytes, np.uint8).data
        view = frame
        try:
            while view:
                n_read = self._socket.recv_into(view)
                if n_read == 0:
                    raise PipeClosedError("the other side is gone")
                view = view[n_read:]
        except OSError as error:
            raise PipeClosedError(f"the other side is gone: {error}") from None
        return frame
