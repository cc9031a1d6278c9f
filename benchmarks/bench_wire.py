"""The wire against bare pyzmq: medians and quartiles, and ratios within one run.

    python benchmarks/bench_wire.py [echo upload held results others sampling]

The server is in a process of its own, as in use; so is the bare peer, which is pyzmq alone: a
ROUTER that takes a message, touches nothing, and answers with 64 bytes (or with a message of the
size asked for). Each pair is measured in turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import zmq

from cim_hal import IsingModel, PumpSchedule, open_device, spawn_server
from cim_hal.client.options import coupling_ref
from cim_hal.client.results import fetch_rows
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.results import unpack_spins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

N_SPINS = 2000

PEER = """
import sys, zmq
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind("tcp://127.0.0.1:0")
print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
answers = {}
while True:
    frames = socket.recv_multipart(copy=False)
    size = int(frames[1].bytes) if len(frames[1]) < 16 else 64
    answer = answers.setdefault(size, bytes(size))
    socket.send_multipart([frames[0], answer], copy=False)
"""


@contextmanager
def bare_peer() -> Iterator[Callable[[bytes], None]]:
    """Send bytes to a bare peer and wait for its answer: 64 bytes, or as many as a number says."""
    peer = subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True)
    with peer, zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(peer.stdout.readline().strip() if peer.stdout else "")

        def exchange(data: bytes) -> None:
            socket.send(data, copy=False)
            socket.recv(copy=False)

        exchange(b"64")
        yield exchange
        peer.kill()


def glass(seed: int, n_spins: int = N_SPINS, dtype: type = np.float32) -> IsingModel:
    """Return a dense model of Gaussian couplings, exact in `dtype`."""
    normal = np.random.default_rng(seed).standard_normal((n_spins, n_spins)).astype(dtype)
    upper = np.triu(normal, 1)
    return IsingModel.from_couplings(upper + upper.T)


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def shown(name: str, ours: Sequence[float], bare: Sequence[float] = ()) -> None:
    """Print median, quartiles and least in ms, and the ratios of medians and of the least."""
    line = f"{name:44s} {_spread(ours)}"
    if bare:
        line += f"   bare {_spread(bare)}   ratio {np.median(ours) / np.median(bare):.2f}"
        line += f", of the least {min(ours) / min(bare):.2f}"
    print(line, flush=True)


def _spread(times: Sequence[float]) -> str:
    low, middle, high = 1e3 * np.quantile(times, [0.25, 0.5, 0.75])
    return f"{middle:8.3f} ms [{low:.3f}, {high:.3f}], least {1e3 * min(times):.3f}"


def in_turns(
    ours: Callable[[], object], bare: Callable[[], object], *, n: int, block: int = 1
) -> tuple[list[float], list[float]]:
    """Measure both, a block of one and a block of the other."""
    first: list[float] = []
    second: list[float] = []
    while len(first) < n:
        first += [seconds(ours) for _ in range(block)]
        second += [seconds(bare) for _ in range(block)]
    return first, second


def echo() -> None:
    """Measure a small request."""
    with (
        bare_peer() as bare,
        spawn_server("emulator") as server,
        open_device(server.endpoint) as device,
    ):
        in_turns(device.ping, lambda: bare(b"x" * 64), n=500, block=100)
        ours, theirs = in_turns(device.ping, lambda: bare(b"x" * 64), n=5000, block=100)
        shown("ping against an echo of 64 bytes", ours, theirs)
        print(f"{'':44s} p99 {1e3 * np.quantile(ours, 0.99):.3f} ms")


def upload() -> None:
    """Couplings nobody has seen, until they are hashed, checked, kept and fitted to the machine.

    The server lets go of each before the next, so that it has memory at hand: what is new from the
    system comes page by page, which on a virtual machine takes longer than all the rest.
    """
    models = [glass(seed) for seed in range(20)]
    data = bytes(4 * N_SPINS**2)
    with (
        bare_peer() as bare,
        spawn_server("emulator") as server,
        open_device(server.endpoint) as device,
    ):

        def load(model: IsingModel) -> float:
            took = seconds(lambda: device.load(model))
            for held in device.couplings():
                device.drop_couplings(held.digest)
            return took

        for model in models[:5]:
            load(model)
            bare(data)
        ours, theirs = [], []
        for model in models[5:]:
            ours.append(load(model))
            theirs.append(seconds(lambda: bare(data)))
        shown("2000 x 2000 float32, cold, fitted", ours, theirs)
        capabilities = device.capabilities
    shown("  of that: pack and hash, client", [seconds(lambda m=m: _named(m)) for m in models[:7]])
    contents = [Couplings.of(model) for model in models[:7]]
    refs = [coupling_ref(content.digest, bits=None, gauge_seed=None) for content in contents]
    fitting = [
        seconds(lambda c=c, r=r: c.lowered(capabilities, r))
        for c, r in zip(contents, refs, strict=True)
    ]
    shown("  of that: fitting to the machine, server", fitting)
    shown("  without the fitting", [each - np.median(fitting) for each in ours], theirs)


def _named(model: IsingModel) -> str:
    return Couplings.of(model).digest


def held() -> None:
    """Couplings the server has, and others that differ from them in 100 pairs."""
    model = glass(1)
    with spawn_server("emulator") as server, open_device(server.endpoint) as device:
        device.load(model)
        there = [seconds(lambda: device.load(model)) for _ in range(500)]
        shown("2000 x 2000, there already", there)
        rows, columns = np.arange(100), np.arange(100) + 500
        changed = [model.with_changes(rows, columns, np.full(100, 0.5 + k)) for k in range(7)]
        shown("the same, 100 pairs changed", [seconds(lambda m=m: device.load(m)) for m in changed])


def results() -> None:
    """10,000 samples of 2,000 spins, delivered and unpacked to int8."""
    n_runs, n_spins = 10_000, 2000
    empty = IsingModel.from_couplings(sp.csr_array((n_spins, n_spins)))
    with (
        bare_peer() as bare,
        spawn_server("bench_machines:Coins") as server,
        open_device(server.endpoint) as device,
    ):
        job = device.submit(empty, n_runs=n_runs)
        while job.state not in TERMINAL:
            time.sleep(0.1)

        def fetch() -> None:
            rows = device._run(fetch_rows(device._client, job.id, np.inf))  # noqa: SLF001
            spins = unpack_spins(np.concatenate([part[0] for part in rows.parts]), n_spins)
            if spins.shape != (n_runs, n_spins):
                raise ValueError(spins.shape)

        fetch()
        ours, theirs = in_turns(fetch, lambda: bare(b"%d" % (n_runs * n_spins)), n=15)
        shown("10,000 x 2,000 against 20 MB of int8", ours, theirs)
        ours, theirs = in_turns(fetch, lambda: bare(b"%d" % (n_runs * n_spins // 8)), n=15)
        shown("the same against 2.5 MB left packed", ours, theirs)


UPLOAD = """
import sys
import numpy as np
from bench_wire import glass
from cim_hal import open_device
model = glass(0, 5001, np.float64)
with open_device(sys.argv[1], timeout_s=60) as device:
    device.describe()
    print("ready", flush=True)
    sys.stdin.readline()
    device.load(model)
    print("done", flush=True)
"""


def others() -> None:
    """How long others wait while one sends 100 MB, and while these are fitted."""
    with spawn_server("bench_machines:Coins") as server, open_device(server.endpoint) as device:
        shown("ping, nobody else", quiet := [seconds(device.ping) for _ in range(1000)])
        print(f"{'':44s} p99 {1e3 * np.quantile(quiet, 0.99):.3f} ms")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        other = subprocess.Popen([sys.executable, "-c", UPLOAD, server.endpoint], **pipes)
        with other:
            other.stdout.readline()
            other.stdin.write("\n")
            other.stdin.flush()
            done = threading.Event()
            threading.Thread(target=lambda: (other.stdout.readline(), done.set())).start()
            times = []
            while not done.is_set():
                times.append(seconds(device.ping))
                time.sleep(0.001)
        shown(f"ping during an upload of 100 MB, {len(times)}", times)
        late = 1e3 * np.quantile(times, 0.99)
        print(f"{'':44s} p99 {late:.3f} ms, longest {1e3 * max(times):.3f} ms")


def sampling() -> None:
    """Do the same job in this process and through ZeroMQ."""
    model, schedule = glass(3), PumpSchedule.linear(0.0, 2.0, round_trips=1000)
    job = {"n_runs": 64, "seed": 1}
    with (
        spawn_server("emulator") as server,
        open_device(server.endpoint) as far,
        open_device("emulator") as near,
    ):
        for device in (far, near):
            device.sample(model, schedule, **job)
        ours, theirs = in_turns(
            lambda: far.sample(model, schedule, **job),
            lambda: near.sample(model, schedule, **job),
            n=15,
        )
    shown("sample, 64 x 2000 x 1000, ZeroMQ and in process", ours, theirs)


PARTS = {part.__name__: part for part in (echo, upload, held, results, others, sampling)}


def main() -> None:
    """Run the parts that are named, or all."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
