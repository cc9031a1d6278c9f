"""What a journal on disk costs: a job's cycle, jobs a second, and others beside a slow disk.

Run with ``python benchmarks/bench_journal.py``. The machine costs nothing, the server has a process
of its own, and so has each client. A cycle is submit, wait, fetch, acknowledge. Beside the figures
stands what the same seconds give a bare echo over the same kind of socket, and one fsync.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from slow_disk import compiled

from cim_hal import Capabilities, Driver, IsingModel, Program, Readout, open_device
from cim_hal.server.router import Router
from cim_hal.server.storage.journal import DiskJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal import StopToken

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
N_CLIENTS = 8
SPAWN = multiprocessing.get_context("spawn")


class Free(Driver):
    """A machine that takes no time."""

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(name="free", max_spins=8, coupling_bits=8, reports_amplitudes=True)

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: ARG002, D102
        return Readout(np.ones((program.n_runs, program.n_spins)))


# ---- processes ------------------------------------------------------------------------------


def serve(folder: str) -> None:
    """Serve until stdin closes, with a journal unless `folder` is empty."""
    with Router(Free(), journal=DiskJournal(Path(folder)) if folder else None) as router:
        threading.Thread(target=lambda: (sys.stdin.read(), router.stop()), daemon=True).start()
        print(router.endpoint, flush=True)
        router.serve()


def echo(folder: str) -> None:  # noqa: ARG001
    """Answer each message with itself until the process is killed."""
    sock = zmq.Context.instance().socket(zmq.ROUTER)
    port = sock.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", flush=True)
    while True:
        sock.send_multipart(sock.recv_multipart())


@contextmanager
def process(what: str, folder: str = "", **env: str) -> Iterator[tuple[str, int]]:
    """Start a process of this file; yield the endpoint that it serves, and its pid."""
    child = subprocess.Popen(
        [sys.executable, __file__, what, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip(), child.pid
    finally:
        child.stdin.close()
        if what == "echo":
            child.kill()
        child.wait(60)
        child.stdout.close()


# ---- measurements ---------------------------------------------------------------------------


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 99 % in ms."""
    middle, late = np.quantile(seconds, (0.5, 0.99)) * 1e3
    return float(middle), float(late)


def timed(action: Callable[[], object], n_times: int) -> list[float]:
    """How long each call took, in s."""
    seconds = []
    for _ in range(n_times):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return seconds


def echo_s(n_times: int) -> list[float]:
    with (
        process("echo") as (endpoint, _),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as sock,
    ):
        sock.connect(endpoint)

        def once() -> None:
            sock.send(b"x" * 100)
            sock.recv()

        timed(once, 50)
        return timed(once, n_times)


def fsync_s(n_times: int) -> list[float]:
    with tempfile.TemporaryFile(dir=".") as file:

        def once() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return timed(once, n_times)


def cpu_s(pid: int) -> float:
    """Processor time of a process, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cycles(
    endpoint: str, n_jobs: int, ready: threading.Barrier | None = None, spent: Any = None
) -> list[float]:
    """How long each cycle took, one after the other; puts their processor time into `spent`."""
    with open_device(endpoint) as session:

        def cycle() -> None:
            job = session.submit(PAIR)
            job.result()
            job.acknowledge(later=True)

        timed(cycle, 10)
        if ready is not None:
            ready.wait()
        began = time.process_time()
        seconds = timed(cycle, n_jobs)
        if spent is not None:
            spent.put(time.process_time() - began)
        return seconds


def many(endpoint: str, pid: int, n_jobs: int) -> str:
    """Jobs a second of several clients, each in its own process, and processor time of a job."""
    ready, spent = SPAWN.Barrier(N_CLIENTS + 1), SPAWN.Queue()
    arguments = (endpoint, n_jobs, ready, spent)
    clients = [SPAWN.Process(target=cycles, args=arguments) for _ in range(N_CLIENTS)]
    for client in clients:
        client.start()
    ready.wait()
    began, before = time.perf_counter(), cpu_s(pid)
    clients_s = sum(spent.get() for _ in clients)
    took_s, server_s = time.perf_counter() - began, cpu_s(pid) - before
    for client in clients:
        client.join()
    n_all = N_CLIENTS * n_jobs
    used = f"server {1e3 * server_s / n_all:.2f} ms, client {1e3 * clients_s / n_all:.2f} ms a job"
    return f"{n_all / took_s:.0f} jobs/s with {N_CLIENTS}; processor time: {used}"


def compare(n_jobs: int) -> None:
    middle, late = quantiles(echo_s(n_jobs))
    print(f"echo: {middle:.2f} ms, 99 % {late:.2f} ms")
    print("fsync: {:.2f} ms, 99 % {:.2f} ms".format(*quantiles(fsync_s(n_jobs))))
    for name in ("journal off", "journal on"):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            state = folder if name == "journal on" else ""
            with process("serve", state) as (endpoint, pid):
                p50, p99 = quantiles(cycles(endpoint, n_jobs))
                rate = many(endpoint, pid, n_jobs)
        print(
            f"{name}: a cycle {p50:.2f} ms ({p50 / middle:.0f} echoes), 99 % {p99:.2f} ms; "
            f"{1e3 / p50:.0f} jobs/s with 1 client, {rate}",
            flush=True,
        )


def compare_slow(fsync_s: float, n_times: int) -> None:
    """Pings, stops and a cancel while the disk of the server is slow and jobs keep it busy."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        shim = compiled(Path(folder))
        gate = Path(folder, "slow").absolute()
        env = {"LD_PRELOAD": str(shim), "CIM_FSYNC_S": str(fsync_s), "CIM_FSYNC_SWITCH": str(gate)}
        state = str(Path(folder, "state"))
        with process("serve", state, **env) as (endpoint, _), open_device(endpoint) as session:
            session.load(PAIR)
            gate.touch()
            is_over = threading.Event()
            user = threading.Thread(target=_keep_busy, args=(endpoint, is_over))
            user.start()
            time.sleep(fsync_s)
            asked = {"ping": session.ping, "estop": lambda: session.estop("bench")}
            for name, ask in asked.items():
                p50, p99 = quantiles(timed(ask, n_times))
                print(f"fsync + {fsync_s} s, {name}: {p50:.1f} ms, 99 % {p99:.1f} ms", flush=True)
            gate.unlink()
            session.reset(session.safety().stop)
            is_over.set()
            user.join()


def _keep_busy(endpoint: str, is_over: threading.Event) -> None:
    with open_device(endpoint) as session:
        while not is_over.is_set():
            session.sample(PAIR, timeout_s=120.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=["all", "serve", "echo"])
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--jobs", type=int, default=500, help="of each client")
    parser.add_argument("--fsync", type=float, default=1.5, help="s that a slow disk takes more")
    options = parser.parse_args()
    if options.what != "all":
        {"serve": serve, "echo": echo}[options.what](options.folder)
        return
    compare(options.jobs)
    if options.fsync:
        compare_slow(options.fsync, 8)


if __name__ == "__main__":
    main()
