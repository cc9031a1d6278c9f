"""Sockets of the client: nobody there, strangers, lost connections, forks."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
import warnings

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import IsingModel, PumpSchedule, TargetError, TransportError, open_device, spawn_server
from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.errors import ConnectError, LocalProtocolError

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


def test_a_dead_endpoint_is_an_error_within_the_stated_time():
    started = time.monotonic()
    with pytest.raises(ConnectError, match=r"tcp://127\.0\.0\.1:1 within 0\.3 s .*cim-hal serve"):
        open_device("tcp://127.0.0.1:1", timeout_s=0.3)
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1", "tcp://", "tcp://127.0.0.1:http", "ipc://"]
)
def test_a_malformed_endpoint_is_an_error_that_shows_the_right_form(endpoint):
    with pytest.raises(TargetError, match="tcp://host:port"):
        open_device(endpoint, timeout_s=0.3)


def test_something_else_that_listens_there_is_not_taken_for_a_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TransportError, match=str(port)):
            open_device(f"tcp://127.0.0.1:{port}", timeout_s=0.3)


def test_a_server_that_is_killed_is_an_error_and_no_hang():
    with (
        spawn_server("cim_machines:Patient") as server,
        open_device(server.endpoint, timeout_s=0.5) as device,
    ):
        job = device.submit(PAIR, LONG)
        timer = threading.Timer(0.2, server.process.kill)
        timer.start()
        started = time.monotonic()
        with pytest.raises(TransportError, match="nobody answers"):
            job.result()
        assert time.monotonic() - started < 10.0
        timer.join()


def test_a_session_goes_on_after_a_restart_of_the_server():
    with spawn_server("cim_machines:Annealer") as server:
        device = open_device(server.endpoint)
        before = device.sample(PAIR, n_runs=3, seed=1)
    with spawn_server("cim_machines:Annealer", endpoint=server.endpoint):
        after = device.sample(PAIR, n_runs=3, seed=1)
        device.close()
    np.testing.assert_array_equal(before.amplitudes, after.amplitudes)


def test_a_server_that_sleeps_through_a_request_answers_after_it_wakes():
    with spawn_server("cim_machines:Annealer") as server, open_device(server.endpoint) as device:
        server.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(0.5, server.process.send_signal, [signal.SIGCONT])
        timer.start()
        assert len(device.sample(PAIR, n_runs=2)) == 2
        timer.join()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_session_is_refused_after_a_fork(serving):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        pid = os.fork()
        if pid == 0:
            try:
                device.describe()
            except LocalProtocolError as error:
                os._exit(0 if "fork" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert device.describe().busy is False


@pytest.mark.usefixtures("collectable")
def test_a_connection_that_an_interrupt_took_from_its_owner_is_closed(serving):
    with serving(Annealer()) as endpoint:
        transport = ZmqTransport(endpoint)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)  # pyzmq tells of what is left open
            transport.line(5.0)  # and nobody closes it
            gc.collect()
        transport.close()
        assert transport._endpoint.context.closed


def test_a_line_that_was_not_answered_in_time_is_lost_and_says_so(serving):
    with serving(Annealer()) as endpoint:
        transport = ZmqTransport(endpoint)
        line = transport.line(5.0)
        with pytest.raises(TransportError, match="did not answer"):
            line.next(timeout_s=0.01)
        with pytest.raises(ConnectError, match="was lost"):
            line.next(timeout_s=5.0)
        line.close()
        transport.line(5.0).close()  # the next has a connection of its own
        transport.close()
