"""A process that does nothing but end a driver, and all that the driver started, in time.

A driver may hold the interpreter in native code, be stopped, or leave helper processes behind. So
the process that a server starts forks before anything else: the child becomes the driver, the
parent stays as its keeper. It needs no library, takes no lock, and ends when nothing is left. It
keeps the lock of the machine open, which therefore is free only after all of them.

On Linux the keeper adopts whatever outlives its parent, and the kernel kills the driver with the
keeper; elsewhere helpers are those in the driver's process group.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from cim_hal.errors import TargetError
from cim_hal.ownership import Claim, children, open_lock

__all__ = ["ORPHAN_S", "keep"]

ORPHAN_S = 3.0  # what a call may still take once the server is gone
SAFE_S = 2.0  # for `safe` after that
ABORT_S = 0.5  # to write a traceback after SIGABRT
HELPER_S = 0.5  # for helpers to end by themselves after SIGTERM
GIVEN_UP_S = 5.0  # for helpers that even SIGKILL does not end
POLL_S = 0.5
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FORWARDED = (signal.SIGABRT, signal.SIGTERM)


def keep(pipe: int, path: Path, server: int) -> Claim:
    """Return in a child process that is to become the driver, with its claim to the machine.

    `pipe` is the driver's socket, `path` the lock file, `server` the process that asked for it. The
    end of file on stdin, SIGTERM, or another parent tell the keeper that the server is gone;
    SIGABRT, that the driver has to end now.
    """
    keeper, lock = os.getpid(), None
    with suppress(TargetError):
        lock = open_lock(path)
    fcntl.fcntl(pipe, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # for no helper: its end is the driver's
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    driver = os.fork()
    if driver != 0:
        os.close(pipe)
        _Keeper(driver).watch()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)
    os.setpgrp()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return Claim(path, lock, server, keeper)


class _Keeper:
    """Watches one driver; its only thread."""

    def __init__(self, driver: int) -> None:
        self._driver = driver
        self._server = os.getppid()
        self._status: int | None = None
        self._kill_at = float("inf")
        self._is_orphan = False
        self._received: set[int] = set()
        self._woken, waker = socket.socketpair()
        waker.settimeout(0)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in FORWARDED:
            signal.signal(number, lambda number, _: self._received.add(number))

    def watch(self) -> NoReturn:
        """Wait for the end of the driver, end its helpers, and end as the driver did."""
        while not self._has_ended():
            self._check()
            left_s = min(max(self._kill_at - time.monotonic(), 0.01), POLL_S)
            stdin = [] if self._is_orphan else [0]
            ready, _, _ = select.select([self._woken, *stdin], [], [], left_s)
            if self._woken in ready:
                self._woken.recv(4096)
            if 0 in ready and not os.read(0, 4096):
                self._end_in_order()
        self._end_helpers()
        _exit_like(self._status or 0)

    def _has_ended(self) -> bool:
        """Collect processes that have ended: the driver's status is kept."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._driver:
                    self._status = ended[1]
        return self._status is not None

    def _check(self) -> None:
        if os.getppid() != self._server or signal.SIGTERM in self._received:
            self._end_in_order()
        if signal.SIGABRT in self._received:
            self._received.discard(signal.SIGABRT)
            self._kill_at = min(self._kill_at, time.monotonic() + ABORT_S)
            os.kill(self._driver, signal.SIGABRT)
        if time.monotonic() >= self._kill_at:
            os.kill(self._driver, signal.SIGKILL)

    def _end_in_order(self) -> None:
        """Let the driver make its machine safe, also one that was stopped; and then kill it."""
        if not self._is_orphan:
            self._is_orphan = True
            self._kill_at = min(self._kill_at, time.monotonic() + ORPHAN_S + SAFE_S)
            for number in (signal.SIGTERM, signal.SIGCONT):
                os.kill(self._driver, number)

    def _end_helpers(self) -> None:
        began, told = time.monotonic(), set[int]()
        if sys.platform != "linux":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._driver, signal.SIGKILL)
            return
        while (found := children()) and time.monotonic() < began + HELPER_S + GIVEN_UP_S:
            if time.monotonic() > began + HELPER_S:
                _kill(found, signal.SIGKILL)
            _kill(set(found) - told, signal.SIGTERM)
            told.update(found)
            time.sleep(0.01)
            self._has_ended()


def _kill(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _exit_like(status: int) -> NoReturn:
    """End with the exit status, or by the signal, that ended the driver."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
