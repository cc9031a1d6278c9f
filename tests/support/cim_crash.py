"""Processes that die by SIGKILL at a chosen moment; run as a program.

``python -m cim_crash serve ENDPOINT FOLDER VICTIM WHEN KIND NUMBER`` is a server. ``python -m
cim_crash use ENDPOINT KEY WHEN KIND NUMBER`` is a client that submits `big_model` and waits for
its result. The victim, ``server`` or ``driver`` (then in a process of its own), or the client
itself, dies ``before`` or ``after`` the given one of the moments of a kind: a record of the
journal (``Accepted``, ``Started``, ``Ended``, ``Dropped``), ``Couplings`` or a ``Result`` that
are written, a request that the server takes, one that the client sends, a reply that it gets.
With NUMBER 0 nobody dies.

A run whose seed is in ``CIM_FATAL_SEED`` kills its process, once it has left its witness. The wall
clock of a server is ``CIM_CLOCK_STEP`` seconds late or early.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cim_hal import (
    Capabilities,
    Driver,
    IsingModel,
    JobCancelledError,
    Program,
    Readout,
    StopToken,
    open_device,
)
from cim_hal.client.transport import zmq as zmq_transport
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.router import Router
from cim_hal.server.storage.journal import DiskJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cim_hal.protocol.effects import Reply
    from cim_hal.protocol.jobs.records import Record
    from cim_hal.protocol.wire.packet import Packet

Result = TypeVar("Result")

BIG_RUNS = 300  # of `big_model`: a result of two batches


def big_model() -> IsingModel:
    """A model whose couplings take four chunks: 1000 spins."""
    upper = np.triu(np.random.default_rng(0).normal(size=(1000, 1000)), 1)
    return IsingModel.from_couplings(upper + upper.T)


class Witness(Driver):
    """Normal numbers from the seed; appends the seed to the file ``CIM_WITNESS`` at each run."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="witness",
            max_spins=4000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=20,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        with Path(os.environ["CIM_WITNESS"]).open("a", encoding="ascii") as file:
            file.write(f"{program.seed}\n")
        if os.environ.get("CIM_FATAL_SEED") == str(program.seed):
            os.kill(os.getpid(), signal.SIGKILL)
        for done in range(program.schedule.round_trips):
            if stop.is_set():
                raise JobCancelledError("stopped")
            stop.progress(done, program.schedule.round_trips)
            time.sleep(0.001)
        shape = (program.n_runs, program.n_spins)
        return Readout(np.random.default_rng(program.seed).standard_normal(shape))


class Death:
    """Kills a process before or after one of the moments of a kind."""

    def __init__(
        self, when: str, kind: str, number: str, victim: Callable[[], int | None] = os.getpid
    ) -> None:
        self._when = when
        self._kind = kind
        self._left = int(number)
        self._victim = victim

    def around(self, kind: str, action: Callable[[], Result]) -> Result:
        is_it = kind == self._kind
        self._left -= is_it
        deadly = is_it and self._left == 0
        if deadly and self._when == "before":
            self._kill()
        result = action()
        if deadly and self._when == "after":
            self._kill()
        return result

    def _kill(self) -> None:
        pid = self._victim()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


class DeadlyJournal:
    """A `DiskJournal` with a death around what it writes."""

    def __init__(self, journal: DiskJournal, death: Death) -> None:
        self._journal = journal
        self._death = death
        self.keys = journal.keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def write(self, records: Sequence[Record]) -> list[BaseException | None]:
        """Write each record in a group of its own, so that each has a before and an after."""
        outcomes: list[BaseException | None] = []
        for record in records:
            action = partial(self._journal.write, [record])
            outcomes += self._death.around(type(record).__name__, action)
        return outcomes

    def keep_couplings(self, *args: Any) -> None:
        self._death.around("Couplings", lambda: self._journal.keep_couplings(*args))

    def keep_result(self, *args: Any) -> Any:
        return self._death.around("Result", lambda: self._journal.keep_result(*args))


class DeadlyService:
    """A `Service` with a death around the requests it takes; after them means: unanswered."""

    def __init__(self, service: Any, death: Death) -> None:
        self._service = service
        self._death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def receive(self, peer: bytes, request: Packet, **options: Any) -> list[Reply]:
        kind = type(request.body).__name__
        return self._death.around(kind, lambda: self._service.receive(peer, request, **options))


def _set_clock(step_s: float) -> None:
    told = time.time
    time.time = lambda: told() + step_s


def serve(endpoint: str, folder: str, victim: str, *moment: str) -> None:
    _set_clock(float(os.environ.get("CIM_CLOCK_STEP", "0")))
    driver = Witness() if victim == "server" else DriverProcess("cim_crash:Witness")
    is_ours = isinstance(driver, Witness)
    death = Death(*moment, victim=os.getpid if is_ours else lambda: driver.pid)
    journal = DeadlyJournal(DiskJournal(Path(folder)), death)
    with Router(driver, endpoint, journal=journal) as router:
        router._service = DeadlyService(router._service, death)
        signal.signal(signal.SIGTERM, lambda *_: router.stop())
        print(f"ready: witness at {router.endpoint}", flush=True)
        router.serve()


def use(endpoint: str, key: str, *moment: str) -> None:
    death = Death(*moment)
    encode, decode = zmq_transport.encode, zmq_transport.decode

    def sent(packet: Packet) -> Any:
        return death.around(type(packet.body).__name__, lambda: encode(packet))

    def received(frames: Any) -> Packet:
        packet = decode(frames)
        return death.around(type(packet.body).__name__, lambda: packet)

    zmq_transport.encode, zmq_transport.decode = sent, received
    with open_device(endpoint) as session:
        job = session.submit(big_model(), n_runs=BIG_RUNS, seed=5, key=key)
        print(job.id, flush=True)
        job.result(60.0)
        job.acknowledge()


if __name__ == "__main__":
    {"serve": serve, "use": use}[sys.argv[1]](*sys.argv[2:])
