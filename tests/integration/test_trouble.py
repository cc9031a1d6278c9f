"""What goes wrong on a network, with real sockets and real processes."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
import zmq
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, JobCancelledError, PumpSchedule, TransportError, open_device
from cim_hal.errors import BindError, VersionError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import Hello
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.router import Router

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
HELLO = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))


@pytest.fixture
def stranger():
    """A bare socket that sends what it likes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RCVTIMEO, 5000)
        yield dealer


# ---- opening --------------------------------------------------------------------------------


def test_a_busy_port_is_an_error_and_closes_the_driver(serving):
    driver = Annealer()
    with serving(Annealer()) as endpoint, pytest.raises(BindError, match="in use"):
        Router(driver, endpoint)
    assert driver.n_closed == 1


def test_an_open_address_must_be_asked_for(serving):
    driver = Annealer()
    with pytest.raises(BindError, match="--insecure"):
        Router(driver, "tcp://0.0.0.0:0")
    assert driver.n_closed == 1
    with serving(Annealer(), endpoint="tcp://0.0.0.0:0", insecure=True) as endpoint:
        port = endpoint.rpartition(":")[2]
        with open_device(f"tcp://127.0.0.1:{port}") as device:
            assert device.capabilities.name == "annealer"


# ---- garbage --------------------------------------------------------------------------------


def _garbage() -> list[list[bytes]]:
    first, header = (bytes(frame) for frame in encode(HELLO))
    rng = np.random.default_rng(0)
    return [
        [b""],
        [b"", b"", b""],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [first],
        [header],
        [first, header[:-1]],
        [first, header, header],
        [first, b"\x91" * 60_000],
        [first, b"x" * 70_000],
        [b"CIM\x02" + first[4:], header],
        *([rng.bytes(8), rng.bytes(int(size))] for size in rng.integers(0, 500, 50)),
    ]


def test_garbage_from_one_peer_does_not_disturb_another(serving, stranger):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        expected = device.sample(PAIR, n_runs=3, seed=1).amplitudes
        stranger.connect(endpoint)
        for frames in _garbage():
            stranger.send_multipart(frames)
            np.testing.assert_array_equal(
                device.sample(PAIR, n_runs=3, seed=1).amplitudes, expected
            )
        stranger.send_multipart(encode(HELLO))
        replies = [decode(stranger.recv_multipart()) for _ in range(len(_garbage()) + 1)]
    assert replies[-1].body.t == "welcome"
    assert {reply.body.t for reply in replies[:-1]} == {"error"}


def test_a_frame_that_is_too_large_ends_that_connection_and_no_other(serving, stranger):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        stranger.connect(endpoint)
        stranger.send_multipart([b"CIM\x01\x01\x00\x01\x00", b"", bytes(2 * 2**20)])
        assert len(device.sample(PAIR, n_runs=2)) == 2
        stranger.setsockopt(zmq.RCVTIMEO, 200)
        with pytest.raises(zmq.Again):
            stranger.recv()


def test_bytes_that_are_no_zeromq_do_not_disturb_anyone(serving):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        port = int(endpoint.rpartition(":")[2])
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 64):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(data)
                assert len(device.sample(PAIR, n_runs=2)) == 2


def test_a_client_of_another_version_is_told_so(serving, stranger):
    with serving(Annealer()) as endpoint:
        stranger.connect(endpoint)
        future = Packet(Kind.REQUEST, b"f" * 16, Hello(protocols=((2, 0), (2, 4))))
        stranger.send_multipart(encode(future))
        reply = decode(stranger.recv_multipart())
    assert reply.id == future.id
    assert isinstance(as_error(reply.body), VersionError)


def test_a_peer_that_asks_and_never_reads_does_not_stop_the_server(serving, stranger):
    stranger.setsockopt(zmq.RCVHWM, 1)
    stranger.setsockopt(zmq.SNDTIMEO, 1000)
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        stranger.connect(endpoint)
        for _ in range(2000):
            stranger.send_multipart(encode(HELLO))
        assert len(device.sample(PAIR, n_runs=2)) == 2


# ---- jobs -----------------------------------------------------------------------------------


def test_a_running_job_is_cancelled_while_another_thread_waits_for_it(serving):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, LONG)
        timer = threading.Timer(0.1, job.cancel)
        timer.start()
        with pytest.raises(JobCancelledError):
            job.result(timeout_s=20.0)
        timer.join()
        assert job.state is JobState.CANCELLED


def test_a_client_that_leaves_frees_the_machine(serving):
    with serving(Patient()) as endpoint:
        with open_device(endpoint) as device:
            device.submit(PAIR, LONG, keep=False)
        with open_device(endpoint) as device:
            short = PumpSchedule.constant(1.0, round_trips=1)
            assert len(device.submit(PAIR, short).result(timeout_s=20.0)) == 1


def test_the_server_stops_while_a_job_runs(serving):
    with serving(Patient()) as endpoint:
        device = open_device(endpoint, timeout_s=0.3)
        device.submit(PAIR, LONG)
    with pytest.raises(TransportError):
        device.describe()
    device.close()


def test_a_session_the_server_forgot_is_opened_again(serving):
    with (
        serving(Annealer(), limits=Limits(session_s=0.6)) as endpoint,
        open_device(endpoint) as device,
    ):
        first = device._client.welcome.session
        time.sleep(1.5)
        assert len(device.sample(PAIR, n_runs=2)) == 2
        assert device._client.welcome.session != first
