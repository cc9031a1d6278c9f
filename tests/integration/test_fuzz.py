"""Messages that were tampered with: refused one by one, and the server goes on."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from itertools import islice

import msgpack
import pytest
import zmq
from cim_fuzz import ALLOWANCE, Stranger, open_session, originals, through_codec
from cim_machines import Annealer
from example_messages import example_packets
from mutations import Mutator

from cim_hal import IsingModel, open_device
from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import MAX_HEADER_BYTES, Limits
from cim_hal.protocol.wire.packet import Kind

TYPES = {*messages.REQUESTS, *messages.REPLIES}


def test_there_is_an_example_of_every_message_and_it_is_valid():
    packets = list(example_packets("0" * 32))
    assert {type(packet.body) for packet in packets} == TYPES
    for frames in originals("0" * 32):
        assert [bytes(frame) for frame in encode(decode(frames))] == frames


def test_a_seed_repeats_its_mutations_and_another_does_not():
    valid = originals()
    first, again, other = (list(islice(Mutator(valid, seed), 50)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mutated_messages_are_packets_or_refused_and_hold_twice_their_size_at_most(seed):
    found = through_codec(5000, seed=seed)
    assert found.n_packets + found.n_refused == 5000
    assert found.n_packets > 100  # some mutations leave a message valid, most do not
    assert found.n_refused > 2500
    assert found.most_over <= ALLOWANCE


@pytest.mark.usefixtures("collectable")
def test_the_header_that_costs_most_to_read_stays_within_its_bound():
    # Empty maps are one byte on the wire and 64 in Python: while it is read, and no longer.
    maps = [[[{}] * 4096] * 4096][0][:15]
    header = msgpack.packb({"id": bytes(16), "p": {"t": "ping"}, "x": maps})
    assert len(header) < MAX_HEADER_BYTES
    preamble = originals()[0][0]
    tracemalloc.start()
    try:
        is_refused = False
        try:
            decode([preamble, header])
        except ProtocolError:
            is_refused = True
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert is_refused
    assert held < ALLOWANCE
    assert peak < 160 * MAX_HEADER_BYTES


def test_a_server_answers_through_10_000_mutated_messages(serving, caplog):
    with serving(Annealer(), limits=Limits(max_sessions=20_000)) as endpoint:
        with open_device(endpoint) as device:
            token = open_session(endpoint)
            stranger = Stranger(endpoint, token)
            try:
                n_replies = stranger.pour(10_000, seed=0)
            finally:
                stranger.close()
            assert n_replies > 500  # those that it had no room for were dropped
            device.describe()
        with open_device(endpoint) as device:
            device.load(IsingModel.from_couplings([[0, 1], [1, 0]]))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def _with_extreme_integers(body: object, value: int) -> Iterator[object]:
    """Yield copies of a message in which one integer after another is `value`."""
    if isinstance(body, int) and not isinstance(body, bool):
        yield value
    elif isinstance(body, dict):
        for key, each in body.items():
            yield from ({**body, key: other} for other in _with_extreme_integers(each, value))
    elif isinstance(body, list):
        for place, each in enumerate(body):
            others = _with_extreme_integers(each, value)
            yield from ([*body[:place], other, *body[place + 1 :]] for other in others)


@pytest.mark.parametrize("value", [2**63 - 1, 2**63 - 2, 2**31 - 1, 0, -1])
def test_integers_at_the_ends_of_their_ranges_are_answered_or_refused(serving, caplog, value):
    with (
        serving(Annealer(), limits=Limits(max_sessions=1000)) as endpoint,
        zmq.Context() as context,
    ):
        client = context.socket(zmq.DEALER)
        client.linger, client.rcvtimeo = 0, 20_000
        client.connect(endpoint)
        n_asked = 0
        for start, head, *buffers in originals(open_session(endpoint)):
            header = msgpack.unpackb(head)
            if start[4] != Kind.REQUEST or header["p"]["t"] == "bye":
                continue
            for body in _with_extreme_integers(header["p"], value):
                client.send_multipart([start, msgpack.packb({**header, "p": body}), *buffers])
                answer = decode(client.recv_multipart()).body
                assert getattr(answer, "code", "") != "protocol.remote", body
                n_asked += 1
        client.close()
    assert n_asked > 20
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
