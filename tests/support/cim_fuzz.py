"""Mutated messages through the codec and through a running server, and what they cost."""

from __future__ import annotations

import gc
import itertools
import os
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import zmq
from example_messages import example_packets
from mutations import Mutator

from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.messages import Bye, Hello, Ping, Pong, Welcome
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST

# What Python needs for a packet, whatever its size: the objects of a message and its arrays.
ALLOWANCE = 32 * 1024


@dataclass
class Decoded:
    """What became of the messages of a run through the codec."""

    n_packets: int = 0
    n_refused: int = 0
    most_over: int = -ALLOWANCE  # bytes held beyond twice the size of the frames
    highest: int = 0  # bytes while one was being read


def originals(session: str = "") -> list[list[bytes]]:
    """Return the frames of every message; those that end the session do not name it."""
    packets = [
        Packet(p.kind, p.id, p.body, "" if isinstance(p.body, Bye) else p.session, p.buffers)
        for p in example_packets(session)
    ]
    return [[bytes(frame) for frame in encode(packet)] for packet in packets]


def through_codec(n_messages: int, *, seed: int) -> Decoded:
    """Decode mutated messages; anything but a packet or a `ProtocolError` is raised."""
    found = Decoded()
    tracemalloc.start()
    try:
        for frames in itertools.islice(Mutator(originals(), seed), n_messages):
            size = sum(map(len, frames))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                packet = decode(frames)
            except ProtocolError:
                packet = None
                found.n_refused += 1
            held, peak = tracemalloc.get_traced_memory()
            found.n_packets += packet is not None
            found.most_over = max(found.most_over, held - before - 2 * size)
            found.highest = max(found.highest, peak - before)
            del packet
    finally:
        tracemalloc.stop()
    return found


class Stranger:
    """A peer that sends mutated messages to a server, and looks whether it still lives."""

    def __init__(self, endpoint: str, session: str) -> None:
        self._context = zmq.Context()
        self._pouring = self._context.socket(zmq.DEALER)
        self._asking = self._context.socket(zmq.DEALER)
        for socket in (self._pouring, self._asking):
            socket.linger = 0
            socket.rcvtimeo = 20_000
            socket.connect(endpoint)
        self._session = session

    def pour(self, n_messages: int, *, seed: int, ask_every: int = 500) -> int:
        """Send; return the number of replies. Raises `zmq.Again` where the server is silent."""
        n_replies = 0
        mutated = Mutator(originals(self._session), seed)
        for number, frames in enumerate(itertools.islice(mutated, n_messages)):
            self._pouring.send_multipart(frames or [b""])
            n_replies += self._drain()
            if number % ask_every == ask_every - 1:
                self.ask()
        self.ask()
        return n_replies + self._drain()

    def ask(self) -> None:
        """Ping, and wait for the pong."""
        ping = Packet(Kind.REQUEST, os.urandom(ID_BYTES), Ping(), self._session)
        self._asking.send_multipart(encode(ping))
        reply = decode(self._asking.recv_multipart())
        if reply.id != ping.id or not isinstance(reply.body, Pong):
            raise AssertionError(reply)

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)

    def _drain(self) -> int:
        n_replies = 0
        while self._pouring.get(zmq.EVENTS) & zmq.POLLIN:
            decode(self._pouring.recv_multipart())
            n_replies += 1
        return n_replies


def open_session(endpoint: str) -> str:
    """Say hello, and return the token of the session."""
    transport = ZmqTransport(endpoint)
    try:
        hello = Hello(protocols=(OLDEST, NEWEST))
        packet = Packet(Kind.REQUEST, os.urandom(ID_BYTES), hello)
        welcome = transport.exchange(packet, timeout_s=20.0).body
    finally:
        transport.close()
    if not isinstance(welcome, Welcome):
        raise TypeError(welcome)
    return welcome.session


def resident_bytes(pid: int) -> int:
    """Return the memory of a process, from /proc."""
    gc.collect()
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
