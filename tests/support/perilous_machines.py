"""Machines that take their process with them, each in a way of its own; never in our process."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cim_machines import Annealer, Laboratory

if TYPE_CHECKING:
    from cim_hal import Calibration, Capabilities, Program, Readout, StopToken, Telemetry


def _segfault(_program: Program) -> None:
    ctypes.string_at(0)


def _exit(_program: Program) -> None:
    os.write(2, b"the laser has\nburnt a hole\n")
    os._exit(3)


def _print(_program: Program) -> None:
    os.write(1, b"\x00\xffvendor library v1.0\n" * 20_000)
    print("and Python prints as well")


def _leak(_program: Program) -> None:
    kept = []
    for _ in range(64):
        kept.append(np.ones(2**24, dtype=np.uint8))
        time.sleep(0.02)
    time.sleep(60)  # with all of it, however late whoever watches looks


def _hold_the_gil(_program: Program) -> None:
    ctypes.PyDLL(None).sleep(60)


def _own_sockets() -> list[int]:
    fds = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    return [fd for fd in fds if fd > 2 and _is_socket(fd)]


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def _write_into_the_link(_program: Program) -> None:
    for fd in _own_sockets():
        os.write(fd, b"\xff" * 4096)


def _close_the_link(_program: Program) -> None:
    for fd in _own_sockets():
        socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)
    time.sleep(60)


def _sleep(_program: Program) -> None:
    time.sleep(60)


PERILS = {
    1: _segfault,
    2: _exit,
    3: _print,
    4: _leak,
    5: _hold_the_gil,
    6: _write_into_the_link,
    7: _close_the_link,
    8: _sleep,
}


class Perilous(Annealer):
    """The seed chooses the peril; 0, and seeds from 9 on, are none."""

    def run(self, program: Program, stop: StopToken) -> Readout:
        PERILS.get(program.seed, lambda _: None)(program)
        return super().run(program, stop)


class Mortal(Laboratory):
    """Kills itself where the next line of the file ``CIM_DEATHS`` says; tells when it is safe."""

    def describe(self) -> Capabilities:
        _perhaps_die("describe")
        return super().describe()

    def program(self, program: Program) -> None:
        _perhaps_die("program")

    def run(self, program: Program, stop: StopToken) -> Readout:
        _perhaps_die("run")
        return super().run(program, stop)

    def status(self) -> Telemetry:
        _perhaps_die("status")
        return super().status()

    def safe(self) -> None:
        Path(os.environ["CIM_DEATHS"]).with_suffix(".safe").touch()


class Counting(Annealer):
    """Says how far it is, and goes no further than half until it is told to stop."""

    def run(self, program: Program, stop: StopToken) -> Readout:
        half = np.int64(program.schedule.round_trips // 2)
        while not stop.is_set():
            stop.progress(half, 2 * half)
            time.sleep(0.01)
        return super().run(program, stop)


class HangingSafe(Annealer):
    """Never has done with `safe` while there is the file ``CIM_HANG``."""

    def safe(self) -> None:
        while Path(os.environ["CIM_HANG"]).exists():
            time.sleep(0.01)


class Deaf(Mortal):
    """Does not heed a stop, and never has done with a calibration."""

    def calibrate(self, stop: StopToken) -> Calibration:
        time.sleep(60)
        return super().calibrate(stop)

    def run(self, program: Program, stop: StopToken) -> Readout:
        stop.report(self.status())
        time.sleep(60)
        return super().run(program, stop)


def _perhaps_die(where: str) -> None:
    path = Path(os.environ["CIM_DEATHS"])
    lines = path.read_text().splitlines() if path.exists() else []
    if lines and lines[0] == where:
        path.write_text("\n".join(lines[1:]))
        os.kill(os.getpid(), signal.SIGKILL)


def import_error() -> Annealer:
    raise ImportError("libfpga.so.3: cannot open shared object file")
