"""Bytes that strangers send to an open port, and how they leave: for tests and benchmarks."""

from __future__ import annotations

import random
import socket
import struct
from typing import TYPE_CHECKING

from cim_fuzz import originals

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["byte_strings", "knock"]

ZMTP_3 = b"\xff" + bytes(7) + b"\1\x7f\3"
NULL, CURVE = (name.ljust(20, b"\0") for name in (b"NULL", b"CURVE"))
READY_BODY = b"\5READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
READY = bytes([4, len(READY_BODY)]) + READY_BODY
STARTS = (
    b"\x01\x00",  # ZMTP 1.0, anonymous
    b"\x05\x00peer",
    b"\xff\0\0\0\0\0\0\0\1\x7f\0",  # ZMTP 1.0 in the new signature
    b"\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0",  # ZMTP 2.0
    b"\xff\0\0\0\0\0\0\0\1\x7f\1\6\0\4name",
    ZMTP_3 + b"\0" + NULL + bytes(32),
    ZMTP_3 + b"\1" + NULL + bytes(32),
    ZMTP_3 + b"\0" + CURVE + bytes(32),
    ZMTP_3 + b"\0" + b"PLAIN".ljust(20, b"\0") + bytes(32),
    ZMTP_3 + b"\0" + NULL + bytes(32) + READY,
    ZMTP_3 + b"\0" + NULL + bytes(32) + READY + b"\4\7\4PING\0\0",
    ZMTP_3 + b"\0" + CURVE + bytes(32) + b"\4\xc8\5HELLO\1\0" + bytes(192),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /status.json HTTP/1.1\r\nHost: x\r\n",
    b"POST /metrics HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),  # TLS
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"*IDN?\n",
    b"\x00\x00\x00\x2f\xff\x53\x4d\x42\x72",  # SMB
    b"",
)


def byte_strings(seed: int) -> Iterator[bytes]:
    """Yield what strangers send: starts of sessions of many protocols, whole, cut and mutated."""
    rng = random.Random(seed)
    session = STARTS[9]
    bodies = [b"".join(_zmtp(frames)) for frames in originals("5" * 32)]
    while True:
        text = bytearray(rng.choice(STARTS))
        if rng.random() < 0.3:
            text = bytearray(session + rng.choice(bodies))
        for _ in range(rng.choice((0, 0, 1, 2, 8))):
            if text:
                text[rng.randrange(len(text))] = rng.randrange(256)
        if rng.random() < 0.3:
            del text[rng.randrange(len(text) + 1) :]
        if rng.random() < 0.4:
            text += rng.choice(
                (b"\x00\x04abcd", b"\x05\x00abcd", rng.randbytes(rng.choice((1, 9, 70))))
            )
        yield bytes(text)


def _zmtp(frames: list[bytes]) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        flags = 2 | (number < len(frames) - 1)
        yield bytes([flags]) + struct.pack(">Q", len(frame)) + frame


def knock(address: tuple[str, int], text: bytes, rng: random.Random) -> bool:
    """Connect, send, perhaps wait for bytes, and close or reset; return whether that was let in."""
    try:
        with socket.create_connection(address, timeout=5.0) as stream:
            if rng.random() < 0.5:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            place = rng.randrange(len(text) + 1) if rng.random() < 0.2 else len(text)
            stream.sendall(text[:place])
            if rng.random() < 0.02:
                stream.settimeout(0.01)
                stream.recv(64)
            stream.sendall(text[place:])
    except OSError:
        return False
    return True
