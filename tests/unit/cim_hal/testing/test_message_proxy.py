from __future__ import annotations

import time
from collections import Counter

import pytest
import zmq

from cim_hal.errors import BindError, ModelError, TargetError
from cim_hal.testing import MessageFaults, MessageProxy
from cim_hal.testing.message_proxy import MAX_PEERS, DeliveredCopy, FaultSampler


@pytest.fixture
def server():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.RCVTIMEO, 5000)
        router.setsockopt(zmq.LINGER, 0)
        router.bind("tcp://127.0.0.1:0")
        yield router


@pytest.fixture
def connect():
    """Makes clients; what is open at the end is closed."""
    opened = []

    def make(endpoint):
        opened.append(dealer := context.socket(zmq.DEALER))
        dealer.setsockopt(zmq.RCVTIMEO, 5000)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        return dealer

    with zmq.Context() as context:
        yield make
        for dealer in opened:
            dealer.close()


def _endpoint(server):
    return server.getsockopt_string(zmq.LAST_ENDPOINT)


def _numbers(socket, count):
    return [int(socket.recv_multipart()[-1]) for _ in range(count)]


def test_messages_go_there_and_back_whole_and_peers_are_kept_apart(connect, server):
    with MessageProxy(_endpoint(server)) as proxy:
        clients = [connect(proxy.endpoint) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send_multipart([b"", str(number).encode(), bytes(100_000)])
        for _ in clients:
            server.send_multipart(server.recv_multipart())
        for number, client in enumerate(clients):
            assert client.recv_multipart() == [b"", str(number).encode(), bytes(100_000)]
    assert proxy.counts == {"messages": 6}


def test_what_is_dropped_does_not_arrive(connect, server):
    with MessageProxy(_endpoint(server), to_server=MessageFaults(drop=0.5), seed=1) as proxy:
        client = connect(proxy.endpoint)
        for number in range(100):
            client.send(str(number).encode())
        arrived = []
        while server.poll(500):
            arrived += _numbers(server, 1)
    assert arrived == sorted(set(arrived))
    assert len(arrived) == 100 - proxy.counts["dropped"]
    assert 30 < proxy.counts["dropped"] < 70


def test_what_is_duplicated_arrives_twice_on_the_way_back_as_well(connect, server):
    with MessageProxy(_endpoint(server), to_client=MessageFaults(duplicate=1.0)) as proxy:
        client = connect(proxy.endpoint)
        client.send(b"7")
        server.send_multipart(server.recv_multipart())
        assert _numbers(client, 2) == [7, 7]


def test_what_is_delayed_keeps_its_place_and_what_is_reordered_is_overtaken(connect, server):
    arrived = {}
    for kind in ("delay", "reorder"):
        faults = MessageFaults(**{kind: 0.1}, late_s=0.3)
        with MessageProxy(_endpoint(server), to_server=faults, seed=5) as proxy:
            client = connect(proxy.endpoint)
            for number in range(50):
                client.send(str(number).encode())
            arrived[kind] = _numbers(server, 50)
    assert arrived["delay"] == list(range(50))
    assert arrived["reorder"] != list(range(50))
    assert sorted(arrived["reorder"]) == list(range(50))


def test_peers_that_left_are_forgotten(connect, server):
    with MessageProxy(_endpoint(server)) as proxy:
        for number in range(MAX_PEERS + 20):
            client = connect(proxy.endpoint)
            client.send(str(number).encode())
            assert _numbers(server, 1) == [number]
            client.close()
        assert len(proxy._peers) == MAX_PEERS


def test_a_silent_peer_is_forgotten_and_gets_a_new_connection_when_it_comes_back(connect, server):
    with MessageProxy(_endpoint(server), silent_s=0.2) as proxy:
        quiet, loud = connect(proxy.endpoint), connect(proxy.endpoint)
        quiet.send(b"0")
        before, _ = server.recv_multipart()
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            loud.send(b"1")
            server.send_multipart(server.recv_multipart())
            loud.recv()
        assert len(proxy._peers) == 1
        quiet.send(b"2")
        after, text = server.recv_multipart()
        assert text == b"2"
        assert after != before


def test_a_reply_to_a_peer_that_left_is_counted(connect, server):
    with MessageProxy(_endpoint(server)) as proxy:
        client = connect(proxy.endpoint)
        client.send(b"1")
        message = server.recv_multipart()
        client.close()
        other = connect(proxy.endpoint)
        for number in range(100):  # until the proxy has seen that it left
            server.send_multipart(message)
            other.send(str(number).encode())
            _numbers(server, 1)
            if proxy.counts["undeliverable"]:
                break
        assert proxy.counts["undeliverable"]


def test_addresses_that_cannot_be_used_are_refused(server):
    with pytest.raises(TargetError, match="tcp://host:port"):
        MessageProxy("somewhere")
    with pytest.raises(BindError, match="open to other machines"):
        MessageProxy(_endpoint(server), listen="tcp://0.0.0.0:0")
    with (
        pytest.raises(BindError, match="cannot listen"),
        MessageProxy(_endpoint(server), listen=_endpoint(server)),
    ):
        pass


# ---- which faults ---------------------------------------------------------------------------

N = 20_000


def _drawn(seed=1, **faults):
    counts = Counter()
    sampler = FaultSampler(MessageFaults(**faults), [seed], counts)
    return [sampler.draw() for _ in range(N)], counts


def test_without_faults_every_message_arrives_once_at_once_and_in_order():
    drawn, counts = _drawn()
    assert all(copies == [DeliveredCopy(0.0, keeps_place=True)] for copies in drawn)
    assert counts == {"messages": N}


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        ("drop", "dropped"),
        ("duplicate", "duplicated"),
        ("delay", "delayed"),
        ("reorder", "reordered"),
    ],
)
def test_faults_strike_as_often_as_they_should(kind, counted):
    _, counts = _drawn(**{kind: 0.1})
    assert counts[counted] == pytest.approx(N * 0.1, abs=4 * (N * 0.1 * 0.9) ** 0.5)
    assert set(counts) == {"messages", counted}


def test_the_same_seed_gives_the_same_fates_and_another_seed_others():
    assert _drawn(drop=0.1, reorder=0.2) == _drawn(drop=0.1, reorder=0.2)
    assert _drawn(drop=0.1)[0] != _drawn(seed=2, drop=0.1)[0]


def test_one_probability_does_not_change_which_messages_another_strikes():
    alone, both = _drawn(drop=0.1)[0], _drawn(drop=0.1, duplicate=0.3, delay=0.2)[0]
    assert [copies == [] for copies in alone] == [copies == [] for copies in both]


def test_a_copy_may_be_late_without_the_other():
    drawn, _ = _drawn(duplicate=1.0, reorder=0.5, late_s=0.2)
    late = Counter(tuple(copy.late_s for copy in copies) for copies in drawn)
    for pair in ((0.0, 0.0), (0.2, 0.0), (0.0, 0.2), (0.2, 0.2)):
        assert late[pair] == pytest.approx(N / 4, abs=4 * (N * 3 / 16) ** 0.5)


@pytest.mark.parametrize("options", [{"drop": 1.1}, {"reorder": -0.1}, {"late_s": -1.0}])
def test_what_is_no_probability_or_time_is_refused(options):
    with pytest.raises(ModelError, match="must be"):
        MessageFaults(**options)
