"""What goes over the border of a driver's process comes out the same, or not at all."""

from __future__ import annotations

import socket
import struct
import threading

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.server.driver.link import Link, LinkClosedError, LinkError


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    link = Link(ours, max_bytes=10_000_000)
    yield link, theirs
    link.close()
    theirs.close()


def _frame(header: bytes, n_arrays: int = 0) -> bytes:
    return struct.pack("<II", len(header), n_arrays) + header


def test_fields_and_arrays_come_out_as_they_went_in(ends):
    link, theirs = ends
    other = Link(theirs)
    arrays = [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.zeros((0, 4)),
        np.asfortranarray(np.random.default_rng(1).normal(size=(300, 400))),
    ]
    fields = {"x": 1.5, "names": ["a", None, True], "big": 2**63 - 1}
    sending = threading.Thread(target=other.send, args=["run", *arrays], kwargs=fields)
    sending.start()
    kind, received, found = link.receive()
    sending.join()
    assert (kind, received) == ("run", fields)
    for array, sent in zip(found, arrays, strict=True):
        assert array.dtype == sent.dtype
        np.testing.assert_array_equal(array, sent)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<II", 2**31, 0), "promises"),
        (struct.pack("<II", 10, 9), "promises"),
        (_frame(b"\xc1" * 20), "malformed"),
        (_frame(msgpack.packb([1])), "malformed"),
        (_frame(msgpack.packb({"t": "x"})), "malformed"),
        (_frame(msgpack.packb({"t": "x", "a": [{"d": "|O", "s": [1]}]}), 1), "array of"),
        (_frame(msgpack.packb({"t": "x", "a": [{"d": "<f8", "s": [-1]}]}), 1), "array of"),
        (_frame(msgpack.packb({"t": "x", "a": [{"d": "<f8", "s": [2**40]}]}), 1), "bytes"),
        (_frame(msgpack.packb({"t": "x", "a": [{"d": "<f8", "s": [2, 2, 2, 2]}]}), 1), "array of"),
        (_frame(msgpack.packb({"t": "x", "a": []}), 1), "promises 0 arrays"),
        (_frame(b"\x91" * 5000), "malformed"),
    ],
)
def test_what_is_malformed_or_too_large_is_refused_before_memory_is_taken(ends, data, says):
    link, theirs = ends
    theirs.sendall(data)
    with pytest.raises(LinkError, match=says) as caught:
        link.receive()
    assert not isinstance(caught.value, LinkClosedError)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error_of_the_link(data):
    ours, theirs = socket.socketpair()
    link = Link(ours, max_bytes=1000)
    theirs.sendall(data)
    theirs.close()
    try:
        while True:
            link.receive()
    except LinkError:
        link.close()


def test_the_end_of_the_other_side_is_an_end_to_both_directions(ends):
    link, theirs = ends
    theirs.close()
    with pytest.raises(LinkClosedError):
        link.receive()
    with pytest.raises(LinkClosedError):
        link.send("run", np.zeros(10**6))


def test_what_is_too_long_is_not_sent(ends):
    link, _ = ends
    with pytest.raises(LinkError, match="bytes"):
        link.send("log", text="x" * 2**21)
