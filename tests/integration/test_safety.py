"""Whatever is used up on a server: it can be stopped, reset and looked at, by old and new clients.

`ROWS` has every limit of a server that can be used up, and resources that have no limit. A new
limit needs a row, or a place in `NOT_USED_UP`.
"""

from __future__ import annotations

import secrets
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import processes
import pytest
import zmq
from cim_machines import Patient
from user_keys import make_keys

from cim_hal import IsingModel, open_device
from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.errors import ConnectError, StorageError, TransportError
from cim_hal.key_files import keys_for, read_pair
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings
from cim_hal.protocol.wire.limits import Limits
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
    SafetyInfo,
    Sample,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST
from cim_hal.server.router import Router
from cim_hal.server.security.authenticator import Authenticator
from cim_hal.server.storage.journal import DiskJournal

if TYPE_CHECKING:
    from cim_hal.client.transport.base import Line

# The promise is 0.1 s, which benchmarks/bench_stop.py measures; ten times that on a slow machine.
TOLD_S, ANSWERED_S = 1.5, 5.0
ROLES = {"oskar": "observer", "ulf": "user", "olga": "operator"}
HELLO = Hello(protocols=(OLDEST, NEWEST))

# Sizes of one thing, and times: nobody uses them up.
NOT_USED_UP = {
    "chunk_bytes", "coupling_bytes", "credit", "lease_s", "max_spins", "result_bytes", "result_s",
    "session_s", "slice_s", "upload_s", "wait_s",
}  # fmt: skip


class Witness(Patient):
    """A machine that remembers when it was told to be safe."""

    def __init__(self) -> None:
        self.safe_at: list[float] = []
        self.is_told = threading.Event()

    def safe(self) -> None:
        self.safe_at.append(time.monotonic())
        self.is_told.set()


@dataclass
class Laboratory:
    """A server of this process, and its users; without keys they are all the same one."""

    router: Router
    journal: DiskJournal
    driver: Witness
    keys: dict[str, dict[str, Path]]
    closing: list[socket.socket | Line] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    transports: dict[str, ZmqTransport] = field(default_factory=dict)

    def ask(self, name: str, body: Message, session: str = "", *arrays: Any) -> Any:
        """Send a request of a user and return the answer."""
        if name not in self.transports:
            keys = keys_for(self.router.endpoint, **self.keys.get(name, self.keys["nobody"]))
            self.transports[name] = ZmqTransport(self.router.endpoint, keys=keys)
        packet = Packet(Kind.REQUEST, secrets.token_bytes(16), body, session, arrays)
        return self.transports[name].exchange(packet, timeout_s=ANSWERED_S).body

    def hello(self, name: str) -> str:
        """Open a session."""
        return self.ask(name, HELLO).session

    def until(self, refusal: str, name: str, make: Callable[[int], Message], most: int) -> None:
        """Send requests of one session, at most so many, until one is refused."""
        session = self.hello(name)
        for n in range(most):
            if getattr(self.ask(name, make(n), session), "code", "") == refusal:
                return
        pytest.fail(f"nothing was refused with {refusal}")

    def load(self, name: str, n: int = 0) -> CouplingRef:
        """Load the n-th couplings, and wait until they are fitted to the machine."""
        session, (begin, content) = self.hello(name), _begin(n)
        upload = self.ask(name, begin, session).upload
        self.ask(name, CouplingChunk(upload=upload, offset=0), session, content.data)
        self.ask(name, CommitCouplings(upload=upload), session)
        return begin.coupling


def _begin(n: int) -> tuple[BeginCouplings, EncodedCouplings]:
    content = Couplings.of(IsingModel.from_couplings([[0, 1.0 + n], [1.0 + n, 0]])).payload
    ref = CouplingRef(digest=content.digest())
    return BeginCouplings(coupling=ref, spec=content.spec), content


# ---- what is used up ------------------------------------------------------------------------


def _sessions(lab: Laboratory) -> None:
    for name in ("oskar", "ulf", "olga"):
        for _ in range(6):
            lab.ask(name, HELLO)


def _rate(lab: Laboratory) -> None:
    lab.until("session.rate_limited", "olga", lambda _: Ping(), 100)


def _job(ref: CouplingRef, n: int, *, round_trips: int = 60_000) -> Sample:
    schedule = {"pump": (1.0, 1.0), "round_trips": round_trips}
    fields = {"coupling": ref, "schedule": schedule, "n_runs": 1, "seed": n, "keep": True}
    return Sample.model_validate({"key": secrets.token_hex(16), **fields})


def _queue(lab: Laboratory) -> None:
    ref = lab.load("olga")
    lab.until("job.queue_full", "olga", lambda n: _job(ref, n), 9)


def _uploads(lab: Laboratory) -> None:
    session = lab.hello("olga")
    answers = [lab.ask("olga", _begin(n)[0], session).t for n in range(1000)]
    assert set(answers) == {"couplings.upload"}


def _lowering(lab: Laboratory) -> None:
    """Hold up the thread that fits couplings, and let others wait for it."""
    lab.router._service._executor._lowering_worker.call(lab.is_over.wait)
    session = lab.hello("olga")
    line = lab.transports["olga"].line(5.0)
    lab.closing.append(line)
    for n in range(4):
        begin, content = _begin(n)
        upload = lab.ask("olga", begin, session).upload
        lab.ask("olga", CouplingChunk(upload=upload, offset=0), session, content.data)
        commit = CommitCouplings(upload=upload)
        line.send(Packet(Kind.REQUEST, secrets.token_bytes(16), commit, session))
    assert line.next(timeout_s=5.0).body.code == "session.quota"


def _cache(lab: Laboratory) -> None:
    for n in range(9):
        lab.load("olga", n)


def _kept(lab: Laboratory) -> None:
    ref, session = lab.load("olga"), lab.hello("olga")
    for n in range(6):
        status = lab.ask("olga", _job(ref, n, round_trips=1), session)
        if status.t == "job.status":
            lab.ask("olga", WaitJob(job=status.job, timeout_s=4.0), session)


def _waits(lab: Laboratory) -> None:
    session = lab.hello("olga")
    job = lab.ask("olga", _job(lab.load("olga"), 1), session).job
    line = lab.transports["olga"].line(5.0)
    lab.closing.append(line)
    for _ in range(3):
        wait = WaitJob(job=job, timeout_s=30.0)
        line.send(Packet(Kind.REQUEST, secrets.token_bytes(16), wait, session))
    assert line.next(timeout_s=5.0).body.code == "session.quota"


def _locked(lab: Laboratory) -> None:
    session = lab.hello("ulf")
    assert lab.ask("ulf", LockDevice(key="1" * 32), session).epoch


def _full_disk(lab: Laboratory) -> None:
    def fail(*_: object) -> None:
        raise StorageError("no room")

    vars(lab.journal)["write"] = fail


def _slow_disk(lab: Laboratory) -> None:
    write = lab.journal.write

    def slow(*arguments: Any) -> Any:
        lab.is_over.wait(2.0)
        return write(*arguments)

    vars(lab.journal)["write"] = slow


def _unread(lab: Laboratory) -> None:
    session = lab.hello("olga")
    line = lab.transports["olga"].line(5.0)
    lab.closing.append(line)
    with suppress(ConnectError):  # there is no room for more
        for _ in range(1000):
            line.send(Packet(Kind.REQUEST, secrets.token_bytes(16), Ping(), session))


def _unfinished(lab: Laboratory) -> None:
    host, _, port = lab.router.endpoint.removeprefix("tcp://").rpartition(":")
    greeting = b"\xff" + struct.pack(">Q", 1) + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)
    metadata = b"\5READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    ready = bytes([4, len(metadata)]) + metadata
    for _ in range(8):
        stream = socket.create_connection((host, int(port)), 5.0)
        lab.closing.append(stream)
        with suppress(OSError):  # it may be cut off at once
            stream.sendall(greeting + ready + b"\3" + struct.pack(">Q", 1 << 20) + bytes(1 << 19))


def _flood(lab: Laboratory) -> None:
    """Let 100 connections ask for the longest answers, each again when it was answered."""
    session, transport = lab.hello("oskar"), lab.transports["oskar"]
    lines = [transport.line(5.0) for _ in range(100)]

    def ask() -> None:
        bodies = cycle((AskMetrics(), AskStatus()))
        for turn, n in cycle(product(("ask", "hear"), range(len(lines)))):
            if lab.is_over.is_set():
                break
            try:
                if turn == "hear":
                    lines[n].next(timeout_s=0.1)
                else:
                    request = Packet(Kind.REQUEST, secrets.token_bytes(16), next(bodies), session)
                    lines[n].send(request)
            except TransportError:  # a line that was not answered in time is of no use any more
                lines[n].close()
                with suppress(TransportError):
                    lines[n] = transport.line(0.5)
        for line in lines:
            line.close()

    lab.threads.append(threading.Thread(target=ask))
    lab.threads[-1].start()


@dataclass(frozen=True)
class Row:
    """What uses something up: the limits it is about, and how they are set."""

    use_up: Callable[[Laboratory], None]
    limits: dict[str, float]


ROWS = {
    "sessions": Row(_sessions, {"max_sessions": 6, "user_sessions": 6}),
    "sessions of one user": Row(_sessions, {"user_sessions": 3}),
    "rate": Row(_rate, {"user_messages_per_s": 1.0}),
    "queue": Row(_queue, {"queue_length": 2}),
    "queue of one user": Row(_queue, {"user_queue_length": 2}),
    "1000 uploads": Row(_uploads, {"max_uploads": 1000, "user_uploads": 1000}),
    "kept jobs": Row(_kept, {"kept_jobs": 2, "user_kept_jobs": 2}),
    "kept results": Row(_kept, {"kept_bytes": 2, "user_kept_bytes": 1}),
    "cache": Row(_cache, {"cache_bytes": 20_000, "user_cache_bytes": 20_000}),
    "cache entries": Row(_cache, {"cache_entries": 4, "user_cache_entries": 4}),
    "unfinished messages": Row(_unfinished, {"unfinished_bytes": 3_000_000}),
    "lowering": Row(_lowering, {"user_lowerings": 2}),
    "waits": Row(_waits, {"user_waits": 2}),
    "full disk": Row(_full_disk, {}),
    "slow disk": Row(_slow_disk, {}),
    "unread replies": Row(_unread, {"unanswered": 256}),
    "lock of another": Row(_locked, {}),
    "flood": Row(_flood, {}),
}


def test_every_limit_has_a_row_or_cannot_be_used_up():
    used_up = {name for row in ROWS.values() for name in row.limits}
    assert used_up & NOT_USED_UP == set()
    assert used_up | NOT_USED_UP == set(Limits.model_fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Keys of a server and of everybody in `ROLES`."""
    return make_keys(tmp_path_factory.mktemp("keys"), ROLES)


@contextmanager
def _laboratory(limits: Limits, state: Path, keys: Path | None) -> Iterator[Laboratory]:
    own = {"nobody": {"key": None, "server_key": None}}
    authenticator = None
    if keys is not None:
        authenticator = Authenticator(read_pair(keys / "server.key"), keys / "authorized.toml")
        for name in ROLES:
            own[name] = {"key": keys / f"{name}.key", "server_key": keys / "server.pub"}
    driver, journal = Witness(), DiskJournal(state)
    with Router(driver, authenticator=authenticator, limits=limits, journal=journal) as router:
        thread = threading.Thread(target=router.serve)
        thread.start()
        lab = Laboratory(router, journal, driver, own)
        try:
            yield lab
        finally:
            lab.is_over.set()
            vars(journal).pop("write", None)
            for busy in lab.threads:
                busy.join()
            for each in (*lab.closing, *lab.transports.values()):
                each.close()
            router.stop()
            thread.join()


@pytest.mark.parametrize("keyed", [False, True], ids=["without keys", "with keys"])
@pytest.mark.parametrize("name", ROWS)
def test_the_machine_is_stopped_reset_and_looked_at_whatever_is_used_up(
    name, keyed, folder, tmp_path
):
    row = ROWS[name]
    with _laboratory(Limits(**row.limits), tmp_path, folder if keyed else None) as lab:
        row.use_up(lab)
        lab.driver.is_told.clear()
        began = time.monotonic()
        stopped = lab.ask("olga", EmergencyStop(reason="smoke"))
        assert lab.driver.is_told.wait(TOLD_S)
        assert lab.driver.safe_at[-1] - began < TOLD_S
        assert (stopped.t, stopped.reason) == ("safety.state", "smoke")
        assert lab.ask("oskar", SafetyInfo()).stop == stopped.stop
        assert lab.ask("oskar", AskStatus()).state == "stopped"
        assert lab.ask("olga", ResetDevice(stop=stopped.stop)).stop == 0
        assert lab.ask("oskar", AskStatus()).stop is None


def test_128_clients_that_crashed_keep_nobody_out(run, tmp_path):
    with _laboratory(Limits(), tmp_path, None) as lab:
        endpoint = lab.router.endpoint
        while lab.ask("anybody", HELLO).t == "welcome":
            pass
        assert run("estop", endpoint, "--reason", "smoke")[0] == 0
        assert lab.driver.is_told.wait(TOLD_S)
        status, out, _ = run("status", endpoint)
        assert status == 0
        assert "smoke" in out
        assert run("lock", endpoint, "--show")[0] == 0
        assert run("reset", endpoint)[0] == 0
        assert run("monitor", endpoint, "--once", "--json")[0] == 0
        with open_device(endpoint) as device:
            assert device.status().n_sessions == Limits().user_sessions


def _work(lab: Laboratory, seconds: float, n: int) -> None:
    """Let each request take so long, and send one of each of n connections."""
    service = lab.router._service
    receive = service.receive

    def slow(*arguments: Any, **options: Any) -> Any:
        lab.is_over.wait(seconds)
        return receive(*arguments, **options)

    lab.ask("ulf", SafetyInfo())
    lines = [lab.transports["ulf"].line(5.0) for _ in range(n)]
    lab.closing += lines
    vars(service)["receive"] = slow
    for line in lines:
        line.send(Packet(Kind.REQUEST, secrets.token_bytes(16), AskStatus()))


def test_a_stop_does_not_wait_for_the_requests_ahead_of_it(folder, tmp_path):
    with _laboratory(Limits(), tmp_path, folder) as lab:
        lab.ask("olga", SafetyInfo())
        _work(lab, 0.1, 40)
        time.sleep(0.2)
        lab.driver.is_told.clear()
        began = time.monotonic()
        assert lab.ask("olga", EmergencyStop()).t == "safety.state"
        assert time.monotonic() - began > TOLD_S  # the others were ahead of it
        assert min(at for at in lab.driver.safe_at if at > began) - began < TOLD_S


def test_who_may_not_stop_the_machine_does_not_by_being_in_a_hurry(folder, tmp_path):
    with _laboratory(Limits(), tmp_path, folder) as lab:
        n_told = len(lab.driver.safe_at)
        _work(lab, 0.05, 10)
        assert lab.ask("ulf", EmergencyStop()).code == "permission"
        assert len(lab.driver.safe_at) == n_told


def test_connections_that_use_up_the_open_files_keep_no_stop_out(tmp_path, monkeypatch, run):
    """Peers that never say a word, and peers that speak and come back when they are cut off."""
    witness = tmp_path / "witness"
    monkeypatch.setenv("CIM_WITNESS", str(witness))
    serve = [sys.executable, "-m", "cim_hal.cli", "serve", "owned_machines:Owned", "--no-journal"]
    command = ["/bin/sh", "-c", 'ulimit -n 96; exec "$@"', "sh", *serve]
    with ExitStack() as stack:
        server = stack.enter_context(processes.start(command, stdout=subprocess.PIPE, text=True))
        stack.callback(server.terminate)
        endpoint = server.stdout.readline().split()[-1]
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        for _ in range(100):
            stack.enter_context(socket.create_connection((host, int(port)), 5.0))
        context = stack.enter_context(zmq.Context())
        for _ in range(100):
            peer = stack.enter_context(context.socket(zmq.DEALER))
            peer.setsockopt(zmq.LINGER, 0)
            peer.connect(endpoint)
            peer.send(b"x")
        n_told, began = witness.read_text().count("safe"), time.monotonic()
        assert run("estop", endpoint, "--reason", "smoke")[0] == 0
        assert time.monotonic() - began < ANSWERED_S
        # the answer says that it is ordered: the machine hears of it beside
        while witness.read_text().count("safe") == n_told:
            assert time.monotonic() - began < ANSWERED_S
            time.sleep(0.01)
        assert "smoke" in run("status", endpoint)[1]
        assert run("reset", endpoint)[0] == 0
