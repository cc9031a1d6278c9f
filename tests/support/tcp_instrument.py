"""An instrument on a TCP socket, which can be cut off and comes back, and a driver for it.

The driver connects once, when it is made, as most drivers do: whoever wants it to work again has
to make it anew. The port is read from the file that ``CIM_INSTRUMENT`` names.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from cim_hal import (
    Calibration,
    Capabilities,
    Driver,
    JobCancelledError,
    Program,
    Reading,
    Readout,
    StopToken,
    Telemetry,
)

__all__ = ["ADDRESS", "Instrument", "TcpDriver"]

ADDRESS = "CIM_INSTRUMENT"


class Instrument:
    """Answers lines with lines; `unplug` closes every connection and refuses new ones."""

    def __init__(self, folder: Path) -> None:
        self.laser = "off"
        self.lid = "closed"
        self.refuses = ""  # the command that is answered with an error
        self.heard: list[str] = []
        self._peers: list[socket.socket] = []
        self._address = ("127.0.0.1", 0)
        self.plug()
        (folder / "instrument").write_text(str(self._address[1]))

    def plug(self) -> None:
        """Listen at the same address as before."""
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def unplug(self) -> None:
        """Cut every connection, and accept no other."""
        for peer in (self._listener, *self._peers):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
        self._peers.clear()

    def _accept(self, listener: socket.socket) -> None:
        try:
            while True:
                peer, _ = listener.accept()
                self._peers.append(peer)
                threading.Thread(target=self._serve, args=[peer], daemon=True).start()
        except OSError:
            return

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer, peer.makefile("rw") as lines:
                for line in lines:
                    lines.write(self._answer(line.strip()) + "\n")
                    lines.flush()
        except (OSError, ValueError):
            return

    def _answer(self, line: str) -> str:
        self.heard.append(line)
        if line == self.refuses:
            return "error: relay stuck"
        match line:
            case "on" | "off":
                self.laser = line
            case "status":
                return f"{self.laser} {self.lid}"
        return "ok"


class TcpDriver(Driver):
    """Ferromagnetic spins of random sign, once the instrument has answered."""

    def __init__(self) -> None:
        port = int(Path(os.environ[ADDRESS]).read_text())
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        self._lines = self._socket.makefile("rw")
        self._mutex = threading.Lock()  # `safe` may come from another thread

    def describe(self) -> Capabilities:
        return Capabilities(name="tcp", max_spins=8, coupling_bits=8, default_round_trips=10)

    def run(self, program: Program, stop: StopToken) -> Readout:
        self._say("on")
        for _ in range(program.schedule.round_trips):
            if stop.is_set():
                raise JobCancelledError("stopped")
            self._say("step")
        signs = np.random.default_rng(program.seed).choice([-1, 1], (program.n_runs, 1))
        return Readout(np.tile(signs.astype(np.int8), program.n_spins))

    def status(self) -> Telemetry:
        laser, lid = self._say("status").split()
        return Telemetry(
            readings=(Reading(name="laser", value=laser),), interlocks={"lid": lid == "closed"}
        )

    def calibrate(self, stop: StopToken) -> Calibration:
        self._say("calibrate")
        return Calibration(valid_s=60.0)

    def safe(self) -> None:
        self._say("off")

    def close(self) -> None:
        with suppress(OSError):  # what was not sent cannot be
            self._lines.close()
        self._socket.close()

    def _say(self, line: str) -> str:
        with self._mutex:
            self._lines.write(line + "\n")
            self._lines.flush()
            answer = self._lines.readline().strip()
        if not answer:
            raise ConnectionResetError("the instrument is gone")
        if answer.startswith("error"):
            raise RuntimeError(answer)
        return answer


class Delivering(TcpDriver):
    """Delivers two runs, reports that the lid is open, and goes on until it is told to stop."""

    def run(self, program: Program, stop: StopToken) -> Readout:
        self._say("on")
        spins = np.ones((program.n_runs, program.n_spins), np.int8)
        stop.deliver(spins[:2])
        stop.report(Telemetry(interlocks={"lid": False}))
        while not stop.is_set():
            self._say("step")
        raise JobCancelledError("stopped")
