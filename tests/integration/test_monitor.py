"""``cim-hal monitor`` against real servers: once, as a stream, in a terminal, and through ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from contextlib import contextmanager

import processes
import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.server.router import Router

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


# A process whose Ctrl-C comes from that terminal, as in a shell.
ON_A_TERMINAL = """
import os, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
for number in range(3):
    os.dup2(terminal, number)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Terminal:
    """A command on a terminal of its own: what it wrote, keys, and sizes."""

    def __init__(self, *arguments: str, rows: int = 24, columns: int = 80) -> None:
        self.text = ""
        self._file, theirs = pty.openpty()
        self.resize(rows, columns)
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        command = [sys.executable, "-m", "cim_hal.cli", *arguments]
        self.process = processes.start(
            [sys.executable, "-c", ON_A_TERMINAL, os.ttyname(theirs), *command],
            env=environment | {"TERM": "xterm-256color"},
        )
        self.settings = termios.tcgetattr(theirs)
        self._theirs = theirs

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, key: str) -> None:
        os.write(self._file, key.encode())

    def wait_for(self, words: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} not in {self.text[-3000:]!r}"
            if select.select([self._file], [], [], 0.1)[0]:
                self.text += os.read(self._file, 65536).decode("utf-8", "replace")

    def end(self) -> int:
        """Wait until the command has ended, and return its status."""
        deadline = time.monotonic() + 20.0
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._file], [], [], 0.1)[0]:
                self.text += os.read(self._file, 65536).decode("utf-8", "replace")
        assert termios.tcgetattr(self._theirs) == self.settings
        return self.process.wait(timeout=1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._file)
        os.close(self._theirs)


@pytest.fixture
def terminal():
    opened = []

    def start(*arguments: str, **options: int) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@contextmanager
def _running(device):
    job = device.submit(PAIR, LONG)
    while job.state != "running":
        time.sleep(0.01)
    yield job
    job.cancel()


def test_once_as_json_is_one_object_for_machines(serving, run):
    with serving(Patient()) as endpoint, open_device(endpoint) as device, _running(device) as job:
        status, out, err = run("monitor", endpoint, "--once", "--json")
    assert (status, err) == (0, "")
    known = json.loads(out)
    assert (known["trouble"], known["target"]) == ("", endpoint)
    assert known["status"]["running"]["job"] == job.id
    assert known["status"]["n_sessions"] == 2
    assert {meter["name"] for meter in known["metrics"]["meters"]} >= {"jobs_total", "sessions"}


@pytest.mark.slow
def test_once_without_a_server_is_an_error(run):
    status, _, err = run("monitor", "tcp://127.0.0.1:1", "--once")
    assert status == 1
    assert err.startswith("error: nobody answers at tcp://127.0.0.1:1")


def test_a_stream_is_one_object_a_look_until_it_is_ended(serving, cim_hal):
    with serving(Annealer()) as endpoint:
        process = cim_hal("monitor", endpoint, "--json", "--every", "0.1")
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert second["status"]["uptime_s"] > first["status"]["uptime_s"]


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_in_a_terminal_it_is_live_and_quits_cleanly(serving, terminal, key):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        shown = terminal("monitor", endpoint, "--every", "0.2")
        shown.wait_for("nothing runs")
        with _running(device) as job:
            shown.wait_for(job.id[:8])
        shown.wait_for("cancelled")
        shown.press(key)
        assert shown.end() in {0, 130}
        assert "\x1b[?1049h" in shown.text  # a screen of its own,
        assert shown.text.rindex("\x1b[?1049l") > shown.text.rindex("\x1b[?1049h")  # given back
        assert "\x1b[?25h" in shown.text[shown.text.rindex("\x1b[?25l") :]  # and the cursor
        assert "Traceback" not in shown.text


@pytest.mark.slow
def test_it_follows_the_size_of_the_terminal(serving, terminal):
    with serving(Annealer()) as endpoint:
        shown = terminal("monitor", endpoint, rows=24, columns=80)
        shown.wait_for("╮")
        shown.text = ""
        shown.resize(40, 130)
        shown.wait_for("─" * 100)
        shown.press("q")
        assert shown.end() == 0


@pytest.mark.slow
def test_it_finds_the_server_again(terminal):
    with Router(Annealer()) as first:
        thread = threading.Thread(target=first.serve)
        thread.start()
        shown = terminal("monitor", first.endpoint, "--every", "0.2")
        shown.wait_for("● idle")
        first.stop()
        thread.join()
    shown.wait_for("no connection")
    shown.text = ""
    with Router(Patient(), first.endpoint) as second:
        thread = threading.Thread(target=second.serve)
        thread.start()
        shown.wait_for("patient")
        second.stop()
        thread.join()
    shown.press("q")
    assert shown.end() == 0
