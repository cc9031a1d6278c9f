from __future__ import annotations

import struct
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from example_messages import example_packets

from cim_hal.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, VersionError
from cim_hal.protocol.wire.codec import DTYPES, decode, encode
from cim_hal.protocol.wire.messages import CouplingChunk, ErrorMessage, Ping, Pong, Welcome
from cim_hal.protocol.wire.packet import Kind, Packet

ID = bytes(range(16))
TOKEN = "0123456789abcdef" * 2
PING = Packet(Kind.REQUEST, ID, Ping(), TOKEN)


def _chunk(array: np.ndarray) -> Packet:
    return Packet(Kind.REQUEST, ID, CouplingChunk(upload=TOKEN, offset=0), TOKEN, (array,))


def _frames(header: object, *buffers: bytes, preamble: bytes | None = None) -> list[bytes]:
    first = preamble or struct.pack("<3sBBBH", b"CIM", 1, 1, 0, len(buffers))
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    return [first, packed, *buffers]


def test_the_bytes_of_a_ping_are_those_of_the_specification():
    first, header = encode(PING)
    assert first == b"CIM\x01\x01\x00\x00\x00"
    assert msgpack.unpackb(header) == {"id": ID, "s": TOKEN, "p": {"t": "ping"}}


def test_the_header_of_a_request_acknowledges_up_to_64_jobs():
    packet = replace(PING, acknowledged=(TOKEN,) * 64)
    assert decode(encode(packet)).acknowledged == packet.acknowledged
    with pytest.raises(RemoteProtocolError, match="ack"):
        decode(encode(replace(PING, acknowledged=(TOKEN,) * 65)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_type_come_back_equal_and_read_only(dtype):
    array = np.arange(6).astype(dtype)
    (back,) = decode(encode(_chunk(array))).buffers
    np.testing.assert_array_equal(back, array)
    assert back.dtype.str == dtype
    assert not back.flags.writeable


def test_an_array_without_elements_keeps_its_shape():
    (back,) = decode(encode(_chunk(np.empty((0, 3), np.uint8)))).buffers
    assert back.shape == (0, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, dtype=complex),
        np.array([None]),
        np.zeros(2, dtype=">f4"),
        np.zeros(2**20 + 1, dtype=np.uint8),
    ],
)
def test_arrays_that_must_not_travel_are_our_own_mistake(array):
    with pytest.raises(LocalProtocolError):
        encode(_chunk(array))


def test_a_header_that_is_too_long_is_our_own_mistake():
    details = {f"field {i}": "x" * 2000 for i in range(32)} | {"last": "y" * 2000}
    fault = ErrorMessage.model_construct(code="x", message="", details=details)
    with pytest.raises(LocalProtocolError, match="65536 fit"):
        encode(Packet(Kind.REPLY, ID, fault))


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"CIM\x01\x01\x00\x00\x00"],
        [b"GET / HT", b"TP/1.1"],
        [b"CIM\x01\x03\x00\x00\x00", b"\x80"],
        [b"CIM\x01\x01\x01\x00\x00", b"\x80"],
        [b"CIM\x01\x01\x00\x01\x00", b"\x80"],
        [b"CIM\x01\x01\x00\x09\x00", b"\x80", *[b""] * 9],
        _frames(b""),
        _frames(b"\xc1"),
        _frames([1, 2]),
        _frames({1: 2}),
        _frames(b"\x91" * 100_000),
        _frames(b"\x91" * 60_000 + b"\xc0"),
        _frames(b"\xdd\x7f\xff\xff\xff"),
        _frames(b"\x82\xa2id\xc0\xa2id\xc0"),
        _frames({"id": ID}),
        _frames({"id": b"short", "p": {"t": "ping"}}),
        _frames({"id": ID, "p": {"t": "ping"}, "extra": 1}),
        _frames({"id": ID, "p": {"t": "ping"}, "s": "not a token"}),
        _frames({"id": ID, "p": {"t": "ping"}, "s": TOKEN + "\n"}),
        _frames({"id": ID, "p": {"t": "launch"}}),
        _frames({"id": ID, "p": {"t": "pong"}}),
        _frames({"id": ID, "p": {"t": "ping", "x": 1}}),
        _frames({"id": ID, "p": {"t": "job.wait", "job": TOKEN, "timeout_s": "5"}}),
        _frames({"id": ID, "p": {"t": "job.wait", "job": TOKEN, "timeout_s": float("nan")}}),
        _frames({"id": ID, "p": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}),
        _frames({"id": ID, "p": {"t": "ping"}, "b": [{"d": "|u1", "s": [1]}]}),
        _frames({"id": ID, "p": {"t": "ping"}, "b": [{"d": "|u1", "s": [1]}]}, b"x"),
        _frames({"id": ID, "p": {"t": "ping"}, "b": [{"d": "|O", "s": [1]}]}, b"x" * 8),
    ],
)
def test_malformed_frames_are_the_mistake_of_the_other_side(frames):
    with pytest.raises(RemoteProtocolError):
        decode(frames)


@pytest.mark.parametrize(
    "descriptor",
    [
        {"d": "<f8", "s": [2]},
        {"d": "|u1", "s": [-1]},
        {"d": "|u1", "s": [2**62, 2**62]},
        {"d": "|u1", "s": [1, 1, 1, 4]},
        {"d": "|O", "s": [4]},
        {"d": ">u4", "s": [1]},
        {"d": "|u1"},
    ],
)
def test_a_descriptor_that_lies_about_its_buffer_is_refused(descriptor):
    body = {"t": "couplings.chunk", "upload": TOKEN, "offset": 0}
    frames = _frames({"id": ID, "p": body, "b": [descriptor]}, b"1234")
    with pytest.raises(RemoteProtocolError):
        decode(frames)


def test_a_refusal_names_the_request_where_its_id_could_be_read():
    with pytest.raises(RemoteProtocolError) as caught:
        decode(_frames({"id": ID, "p": {"t": "launch"}}))
    assert caught.value.details["request"] == ID.hex()


def test_another_major_version_is_named_before_anything_is_parsed():
    with pytest.raises(VersionError) as caught:
        decode([b"CIM\x02\x01\x00\x00\x00", b"whatever version 2 may hold"])
    assert caught.value.details == {"received": 2, "expected": 1}


def test_replies_and_requests_are_not_mixed_up():
    reply = Packet(Kind.REPLY, ID, Pong())
    assert isinstance(decode(encode(reply)).body, Pong)
    with pytest.raises(ProtocolError):
        decode(encode(Packet(Kind.REQUEST, ID, Pong())))


def test_a_welcome_comes_back_equal(welcome: Welcome):
    assert decode(encode(Packet(Kind.REPLY, ID, welcome))).body == welcome


def test_values_that_refuse_themselves_are_a_refusal_of_the_message():
    # Found by fuzzing: the capabilities in a welcome check their own default schedule.
    (welcome,) = (
        p for p in example_packets() if isinstance(p.body, Welcome) and p.body.capabilities.settings
    )
    header = msgpack.unpackb(encode(welcome)[1])
    header["p"]["capabilities"]["pump_range"] = [7.0, 8.0]
    preamble = struct.pack("<3sBBBH", b"CIM", 1, 2, 0, 0)
    with pytest.raises(RemoteProtocolError, match="pump_range") as caught:
        decode(_frames(header, preamble=preamble))
    assert caught.value.details["request"] == bytes(16).hex()
