"""How soon the machine is told of an emergency stop, whatever is used up on the server.

    python benchmarks/bench_stop.py                 with keys and without, 5 stops each
    python benchmarks/bench_stop.py -n 20 --only "slow disk"

A server in a process of its own with a journal, its driver in another; the driver writes down when
it is told to be safe. The time runs from the request of a client that just connected, its session
included where the server wants one. A run of the machine goes on meanwhile, which heeds a stop
within a millisecond. `echo` is the round trip of a bare ZeroMQ echo on the same machine at the same
time. Works with servers of before the safety lane too, which is how the figures of before came
about.
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from slow_disk import compiled
from user_keys import make_keys

from cim_hal import Capabilities, Driver, IsingModel, Program, Readout, StopToken
from cim_hal.errors import JobCancelledError
from cim_hal.key_files import read_pair, read_public
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.messages import (
    AskMetrics,
    AskStatus,
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    EmergencyStop,
    Hello,
    LockDevice,
    Message,
    Ping,
    ResetDevice,
    Sample,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST

HERE = Path(__file__).resolve()
ROLES = {"oskar": "observer", "ulf": "user", "olga": "operator"}
TIMEOUT_S = 20.0
LONG = 10_000_000  # round trips of a millisecond
N_FILES = 128  # that the server may open, where these are used up


class Witness(Driver):
    """Writes down when it is told to be safe."""

    def describe(self) -> Capabilities:
        """Return few limits."""
        return Capabilities(name="witness", max_spins=4000, coupling_bits=8, max_round_trips=LONG)

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Wait; a round trip takes a millisecond."""
        for _ in range(program.schedule.round_trips):
            if stop.is_set():
                raise JobCancelledError("stopped between two round trips")
            time.sleep(0.001)
        return Readout(np.ones((program.n_runs, program.n_spins), dtype=np.int8))

    def safe(self) -> None:
        """Write the time, by a clock that all processes share."""
        with Path(os.environ["CIM_SAFE_LOG"]).open("a", encoding="ascii") as log:
            log.write(f"{time.monotonic()}\n")


class Peer:
    """One connection of a user."""

    def __init__(self, lab: Laboratory, name: str) -> None:
        self.socket = lab.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, 1000)
        if lab.keys is not None:
            own = read_pair(lab.keys / f"{name}.key")
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public.encode())
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret.encode())
            server = read_public(lab.keys / "server.pub")
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
        self.socket.connect(lab.endpoint)
        self.session = ""

    def send(self, body: Message, *arrays: Any) -> bytes:
        """Send a request; return its id."""
        packet = Packet(Kind.REQUEST, secrets.token_bytes(16), body, self.session, arrays)
        self.socket.send_multipart(encode(packet))
        return packet.id

    def ask(self, body: Message, *arrays: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Send a request and return the answer; None if there is none in time."""
        wanted, deadline = self.send(body, *arrays), time.monotonic() + timeout_s
        while self.socket.poll(max(1000 * (deadline - time.monotonic()), 0)):
            reply = decode([memoryview(frame) for frame in self.socket.recv_multipart()])
            if reply.id == wanted:
                return reply.body
        return None

    def hello(self) -> Any:
        """Open a session."""
        self.session = ""
        welcome = self.ask(Hello(protocols=(OLDEST, NEWEST)))
        self.session = getattr(welcome, "session", "")
        return welcome

    def load(self, n: int = 0, n_spins: int = 2, *, waits: bool = True) -> CouplingRef:
        """Load couplings, all of them different."""
        J = np.zeros((n_spins, n_spins))
        J[0, 1] = J[1, 0] = 1.0 + n
        content = Couplings.of(IsingModel.from_couplings(J)).payload
        ref = CouplingRef(digest=content.digest())
        opened = self.ask(BeginCouplings(coupling=ref, spec=content.spec))
        if opened.t == "couplings.upload":
            for at in range(0, content.data.nbytes, opened.chunk_bytes):
                part = content.data[at : at + opened.chunk_bytes]
                self.ask(CouplingChunk(upload=opened.upload, offset=at), part)
            commit = CommitCouplings(upload=opened.upload)
            _ = self.ask(commit) if waits else self.send(commit)
        return ref


@dataclass
class Laboratory:
    """A server in a process of its own, and how it is reached."""

    folder: Path
    keys: Path | None
    limits: dict[str, float]
    context: zmq.Context[Any] = field(default_factory=zmq.Context)
    endpoint: str = ""
    pid: int = 0
    peers: list[Peer] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    streams: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Laboratory:
        command = [sys.executable, "-m", "cim_hal.cli", "serve", "bench_stop:Witness"]
        command += ["--state", str(self.folder / "state")]
        n_files = self.limits.pop("", 0)
        if n_files:
            command = ["/bin/sh", "-c", f'ulimit -n {n_files:.0f}; exec "$@"', "sh", *command]
        for name, value in self.limits.items():
            command += ["--limit", f"{name}={value}"]
        if self.keys is not None:
            command += ["--key", str(self.keys / "server.key")]
            command += ["--authorized", str(self.keys / "authorized.toml")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
            ).rstrip(os.pathsep),
            "CIM_SAFE_LOG": str(self.folder / "safe.log"),
            "LD_PRELOAD": str(compiled(self.folder)),
            "CIM_FSYNC_S": "2",
            "CIM_FSYNC_SWITCH": str(self.switch),
            "XDG_STATE_HOME": str(self.folder),
            "CIM_HAL_LOCKS": str(self.folder),
        }
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self.process.stdout
        self.endpoint = self.process.stdout.readline().split()[-1]
        self.pid = self.process.pid
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        for peer in self.peers:
            peer.socket.close()
        for stream in self.streams:
            stream.close()
        self.switch.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.context.term()

    @property
    def switch(self) -> Path:
        """While this file is there, fsync takes 2 s."""
        return self.folder / "slow"

    def peer(self, name: str) -> Peer:
        """Return a new connection."""
        self.peers.append(Peer(self, name))
        return self.peers[-1]

    def safe_times(self) -> list[float]:
        """Return when the driver was told to be safe."""
        return [float(line) for line in (self.folder / "safe.log").read_text().split()]


# ---- what is used up ------------------------------------------------------------------------


def _nothing(_lab: Laboratory) -> None:
    pass


def _sessions(lab: Laboratory) -> None:
    for name in ("oskar", "ulf"):
        peer = lab.peer(name)
        for _ in range(128):
            peer.ask(Hello(protocols=(OLDEST, NEWEST)))


def _own_sessions(lab: Laboratory) -> None:
    peer = lab.peer("olga")
    for _ in range(128):
        peer.ask(Hello(protocols=(OLDEST, NEWEST)))


def _rate(lab: Laboratory) -> None:
    peer = lab.peer("olga")
    peer.hello()
    while peer.ask(Ping()).t == "pong":
        pass


def _job(ref: CouplingRef, round_trips: int) -> Sample:
    schedule = {"pump": (1.0, 1.0), "round_trips": round_trips}
    fields = {"coupling": ref, "schedule": schedule, "n_runs": 1, "seed": 1, "keep": True}
    return Sample.model_validate({"key": secrets.token_hex(16), **fields})


def _queue(lab: Laboratory) -> None:
    peer = lab.peer("ulf")
    peer.hello()
    ref = peer.load()
    while peer.ask(_job(ref, 1000)).t == "job.status":
        pass


def _uploads(lab: Laboratory) -> None:
    peer = lab.peer("ulf")
    peer.hello()
    for n in range(1000):
        content = Couplings.of(IsingModel.from_couplings([[0, 2.0 + n], [2.0 + n, 0]])).payload
        ref = CouplingRef(digest=content.digest())
        peer.ask(BeginCouplings(coupling=ref, spec=content.spec))


def _lowering(lab: Laboratory) -> None:
    """Let 12 models of 2000 spins wait to be fitted."""
    peer = lab.peer("ulf")
    peer.hello()
    for n in range(12):
        peer.load(n, 2000, waits=False)


def _full_disk(lab: Laboratory) -> None:
    """Let no file of the server grow."""
    resource.prlimit(lab.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _slow_disk(lab: Laboratory) -> None:
    """Let fsync take 2 s, and have the journal always write something."""
    lab.switch.touch()

    def write() -> None:
        peer = Peer(lab, "ulf")
        peer.socket.setsockopt(zmq.RCVTIMEO, 100)
        peer.hello()
        ref = peer.load(5)
        while not lab.is_over.wait(0.2):
            with suppress(zmq.ZMQError):
                peer.send(_job(ref, 1))
        peer.socket.close()

    lab.threads.append(threading.Thread(target=write))
    lab.threads[-1].start()
    time.sleep(1.0)


def _kept(lab: Laboratory) -> None:
    peer = lab.peer("ulf")
    peer.hello()
    ref = peer.load(3)
    for _ in range(20):
        status = peer.ask(_job(ref, 1))
        if status.t == "job.status":
            peer.ask(WaitJob(job=status.job, timeout_s=2.0))


def _unread(lab: Laboratory) -> None:
    """Ask ten thousand times and read nothing."""
    peer = lab.peer("ulf")
    with suppress(zmq.Again):
        for _ in range(10_000):
            peer.send(AskStatus())


def _locked(lab: Laboratory) -> None:
    peer = lab.peer("ulf")
    peer.hello()
    peer.ask(LockDevice(key="1" * 32, for_s=600.0, stands=True))


def _flood(lab: Laboratory, n: int = 200, bodies: Sequence[Message] = (Ping(),)) -> None:
    """Let connections ask as fast as they are answered."""

    def ask() -> None:
        peers, asked = [Peer(lab, "oskar") for _ in range(n)], cycle(bodies)
        poller = zmq.Poller()
        for peer in peers:
            poller.register(peer.socket, zmq.POLLIN)
            peer.send(next(asked))
        by_socket = {peer.socket: peer for peer in peers}
        while not lab.is_over.is_set():
            for ready, _ in poller.poll(100):
                ready.recv_multipart()
                by_socket[ready].send(next(asked))
        for peer in peers:
            peer.socket.close()

    lab.threads.append(threading.Thread(target=ask))
    lab.threads[-1].start()
    time.sleep(2.0)


def _dear_flood(lab: Laboratory) -> None:
    """Let 300 connections ask for the longest answers."""
    _flood(lab, 300, (AskMetrics(), AskStatus()))


def _open_files(lab: Laboratory) -> None:
    """Open more connections than the server may open files, and keep them."""
    for n in range(3 * N_FILES):
        if n % 2:
            lab.peer("oskar").send(Ping())
        else:
            host, _, port = lab.endpoint.removeprefix("tcp://").rpartition(":")
            with suppress(OSError):
                lab.streams.append(socket.create_connection((host, int(port)), 1.0))
    time.sleep(2.0)


ROWS: dict[str, tuple[Any, dict[str, float]]] = {
    "nothing": (_nothing, {}),
    "256 sessions": (_sessions, {}),
    "128 sessions of the operator": (_own_sessions, {}),
    "rate": (_rate, {"user_messages_per_s": 1.0}),
    "queue": (_queue, {}),
    "1000 uploads": (_uploads, {"max_uploads": 1000, "user_uploads": 1000}),
    "fitting thread": (_lowering, {}),
    "full disk": (_full_disk, {}),
    "slow disk, fsync + 2 s": (_slow_disk, {}),
    "kept jobs": (_kept, {"kept_jobs": 10}),
    "unread replies": (_unread, {}),
    "lock of another": (_locked, {}),
    "200 connections that flood": (_flood, {}),
    "300 that ask for metrics, status": (_dear_flood, {}),
    "open files": (_open_files, {"": N_FILES}),
}


# ---- measuring ------------------------------------------------------------------------------


def _stop_once(lab: Laboratory) -> float:
    """Stop the machine by a new connection; return the seconds until the driver was told.

    Infinity where it was not.
    """
    peer = lab.peer("olga")
    while peer.ask(Ping(), timeout_s=1.0) is None:  # it may be cut off before it is known
        pass  # connected, which an operator's screen is
    began = time.monotonic()
    peer.send(EmergencyStop(reason="bench"))
    answer = peer.socket.recv_multipart() if peer.socket.poll(1000 * TIMEOUT_S) else None
    reply = None if answer is None else decode([memoryview(frame) for frame in answer]).body
    if getattr(reply, "code", "") == "protocol.unknown_reference":  # it wants a session first
        peer.hello()
        reply = peer.ask(EmergencyStop(reason="bench"))
    told = _told(lab, began)
    stop = getattr(reply, "stop", 0)
    if stop:
        peer.ask(ResetDevice(stop=stop))
    return told - began


def _told(lab: Laboratory, began: float) -> float:
    for _ in range(100):
        times = [at for at in lab.safe_times() if at > began]
        if times:
            return min(times)
        time.sleep(0.01)
    return float("inf")


def _measure(name: str, keys: Path | None, n: int) -> list[float]:
    use_up, limits = ROWS[name]
    with (
        tempfile.TemporaryDirectory() as folder,
        Laboratory(Path(folder), keys, dict(limits)) as lab,
    ):
        ulf = lab.peer("ulf")
        ulf.hello()
        assert ulf.ask(_job(ulf.load(1), LONG)).t == "job.status"
        use_up(lab)
        return [_stop_once(lab) for _ in range(n)]


def _echo(n: int = 200) -> float:
    """Return the median round trip of a bare echo, in seconds."""
    context: zmq.Context[Any] = zmq.Context()
    server, client = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    client.connect(f"tcp://127.0.0.1:{port}")
    times = []
    for _ in range(n):
        began = time.perf_counter()
        client.send(b"x")
        server.send_multipart(server.recv_multipart())
        client.recv()
        times.append(time.perf_counter() - began)
    context.destroy(linger=0)
    return float(np.median(times))


def main() -> None:
    """Print a table: what is used up, and milliseconds until the driver is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="stops in each row")
    parser.add_argument("--only", help="rows whose name contains this")
    options = parser.parse_args()
    print(f"echo {1000 * _echo():.2f} ms; ms until the driver is told, median and largest")
    print(f"{'used up':<30}{'without keys':>22}{'with keys':>22}")
    with tempfile.TemporaryDirectory() as folder:
        keys = make_keys(Path(folder), ROLES)
        for name in ROWS:
            if options.only and options.only not in name:
                continue
            cells = ""
            for each in (None, keys):
                ms = 1000 * np.array(_measure(name, each, options.n))
                told = f"{np.median(ms):.1f}, {ms.max():.1f}" if ms.max() < np.inf else "not told"
                cells += f"{told:>22}"
            print(f"{name:<30}{cells}", flush=True)


if __name__ == "__main__":
    main()
