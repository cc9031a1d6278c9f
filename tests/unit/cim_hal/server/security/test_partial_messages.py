from __future__ import annotations

import socket
import struct
import sys
import time

import pytest
import zmq

from cim_hal.multipart import receive
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.security.partial_messages import PartialMessageGuard, is_possible

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel tells")

KIB = 1024
# One request may then have 65 KiB, an unfinished message twice that.
LIMITS = Limits(chunk_bytes=KIB, unfinished_bytes=200 * KIB)
GREETING = b"\xff" + struct.pack(">Q", 1) + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)
METADATA = b"\5READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
READY = bytes([4, len(METADATA)]) + METADATA


def _frame(flag: int, size: int) -> bytes:
    return bytes([2 | flag]) + struct.pack(">Q", size) + bytes(size)


class GuardUnderTest:
    """A server whose connections are watched, and peers that write raw frames."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._server = self._context.socket(zmq.ROUTER)
        self._guard = PartialMessageGuard(self._context, self._server, LIMITS)
        self._port = self._server.bind_to_random_port("tcp://127.0.0.1")
        self._peers: list[socket.socket] = []

    def peer(self) -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", self._port), 5.0)
        self._peers.append(stream)
        stream.sendall(GREETING + READY)
        answer = b""
        while b"ROUTER" not in answer:
            answer += stream.recv(4096)
        return stream

    def serves(self, *expected: int) -> bool:
        """Whether so many messages are taken and so many peers cut off, and then no more."""
        n_taken = n_cut = 0
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            if (n_taken, n_cut) == expected:
                end, expected = time.monotonic() + 0.2, (*expected, 0)
            if self._server.poll(5):
                self._guard.on_bytes(receive(self._server, wait=False)[0])
                n_taken += 1
            self._guard.update()
            n_cut += self._guard.check()
        return (n_taken, n_cut) == expected[:2]

    def close(self) -> None:
        for stream in self._peers:
            stream.close()
        self._guard.close()
        self._context.destroy(linger=0)


@pytest.fixture
def bench():
    made = GuardUnderTest()
    yield made
    made.close()


def _is_open(stream: socket.socket) -> bool:
    stream.settimeout(0.3)
    try:
        return stream.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_whole_messages_may_be_many(bench):
    stream = bench.peer()
    for _ in range(20):
        stream.sendall(_frame(1, 10 * KIB) + _frame(0, 40 * KIB))
    assert bench.serves(20, 0)
    assert _is_open(stream)


def test_a_message_in_the_midst_may_be_as_large_as_two_requests(bench):
    streams = [bench.peer() for _ in range(2)]
    streams[0].sendall(_frame(1, 100 * KIB))
    streams[1].sendall(_frame(1, 140 * KIB))
    assert bench.serves(0, 1)
    assert _is_open(streams[0])
    assert not _is_open(streams[1])
    streams[0].sendall(_frame(0, 1))
    assert bench.serves(1, 0)


def test_what_was_taken_does_not_count(bench):
    stream = bench.peer()
    for _ in range(4):
        stream.sendall(_frame(1, 60 * KIB) + _frame(0, 30 * KIB))
        assert bench.serves(1, 0)
    stream.sendall(_frame(1, 140 * KIB))
    assert bench.serves(0, 1)


def test_all_together_have_a_bound_and_who_holds_the_most_goes(bench):
    streams = [bench.peer() for _ in range(4)]
    for stream, size in zip(streams, (40, 50, 60, 70), strict=True):
        stream.sendall(_frame(1, size * KIB))
    assert bench.serves(0, 1)
    assert [_is_open(stream) for stream in streams] == [True, True, True, False]


def test_only_tcp_can_be_watched():
    assert is_possible("tcp://127.0.0.1:5555")
    assert not is_possible("ipc:///tmp/cim")
