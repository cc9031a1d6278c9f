"""The wire: a small round trip against a bare echo, and uploads against a bare transfer.

Run with ``pytest benchmarks/bench_wire.py``. The server is in a process of its own, as in use;
the bare peer is pyzmq alone, in a process of its own as well.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zmq

from cim_hal import IsingModel, open_device, spawn_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_SPINS = 2000

ECHO = """
import sys, zmq
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind("tcp://127.0.0.1:0")
print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
while True:
    frames = socket.recv_multipart(copy=False)
    socket.send_multipart([frames[0], frames[1].bytes[:64]])
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[Callable[[bytes], None]]:
    """Send bytes to a bare peer and wait for 64 of them to come back."""
    peer = subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
    with peer, zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(peer.stdout.readline().strip())

        def exchange(data: bytes) -> None:
            socket.send(data, copy=False)
            socket.recv()

        exchange(b"")
        yield exchange
        peer.kill()


@pytest.fixture(scope="module")
def device():
    with spawn_server("emulator") as server, open_device(server.endpoint) as session:
        yield session


def _model(seed: int) -> IsingModel:
    upper = np.triu(np.random.default_rng(seed).standard_normal((N_SPINS, N_SPINS), np.float32), 1)
    return IsingModel.from_couplings(upper + upper.T)


def _median_s(action: Callable[[], None], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def test_ping(benchmark, device, bare):
    benchmark(device.ping)
    echo_s = _median_s(lambda: bare(b"x" * 64), 2000)
    benchmark.extra_info["ratio to a bare echo"] = benchmark.stats.stats.median / echo_s


def test_cold_upload(benchmark, device, bare):
    seeds = iter(range(100))
    benchmark.pedantic(
        device.load, setup=lambda: ((_model(next(seeds)),), {}), rounds=5, warmup_rounds=1
    )
    data = bytes(4 * N_SPINS**2)
    transfer_s = _median_s(lambda: bare(data), 20)
    benchmark.extra_info["ratio to a bare transfer"] = benchmark.stats.stats.median / transfer_s


def test_upload_of_what_is_there(benchmark, device, bare):
    model = _model(1000)
    device.load(model)
    benchmark(device.load, model)
    echo_s = _median_s(lambda: bare(b"x" * 64), 2000)
    benchmark.extra_info["ratio to a bare echo"] = benchmark.stats.stats.median / echo_s
