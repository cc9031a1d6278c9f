"""One process at a time has a machine: a lock that its driver holds, and what a dead owner left.

The lock is on two files of the machine. One is the user's, below the state folder and apart from
every journal: its holder writes into it which processes it consists of, so that the next one can
end them where their server is gone and they are not. A process is known by its number and its
start, which together never come again (Linux; elsewhere nobody is ended). The other is empty, for
all users of the computer to lock and for nobody to write.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple, TypeAlias

from cim_hal.errors import TargetError

if sys.platform == "win32":
    fcntl: Any = None  # no drivers in processes of their own, and no locks
else:
    import fcntl

__all__ = [
    "MARK",
    "Claim",
    "Lock",
    "Process",
    "children",
    "end_marked",
    "hold",
    "lock_file",
    "open_lock",
    "own",
    "release",
    "state_folder",
]

MARK = "CIM_HAL_DRIVER"  # in the environment of a driver and of all that it starts
WAIT_S = 10.0  # for the driver of a server that is gone; its keeper ends it within half of that
KILL_S = 10.0  # until a process that was killed is gone
NAMELESS_S = 1.0  # until whoever took the lock has written who it is
POLL_S = 0.05
PROC = Path("/proc")
LOCKS_VARIABLE = "CIM_HAL_LOCKS"  # the folder for locks of all users, in place of these
SHARED_FOLDERS = (Path("/run/lock"), Path("/tmp"))  # noqa: S108  opened as a hostile place
STICKY = 0o1002  # anybody may make files, and nobody remove those of others

# Descriptors of the user's file, and of that of all users if there is a folder for it.
Lock: TypeAlias = "tuple[int, ...]"

_held: set[int] = set()  # descriptors of locks, which a forked process must not keep


class Process(NamedTuple):
    """A process that is no other, whatever its number is used for later."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process of that number; None if there is none, or nothing is known of it."""
        stat = _stat(pid)
        if stat is None or stat.state in "ZX":
            return None
        return cls(pid, f"{_boot()} {stat.started}")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, or is stopped."""
        return Process.of(self.pid) == self

    def kill(self) -> None:
        """End it now, with its process group if it leads one."""
        if not self.is_alive:
            return
        with suppress(ProcessLookupError, PermissionError):
            is_leader = os.getpgid(self.pid) == self.pid
            (os.killpg if is_leader else os.kill)(self.pid, signal.SIGKILL)


class _Stat(NamedTuple):
    state: str
    parent: int
    started: str


def _stat(pid: int) -> _Stat | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in brackets may hold anything
    return _Stat(fields[0], int(fields[1]), fields[19])


def _boot() -> str:
    """Return what tells the times of this boot from others; empty where a container hides it."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    if PROC.is_dir():
        yield from (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208


def children() -> list[int]:
    """Return the child processes of this one that have not ended (Linux)."""
    stats = ((pid, _stat(pid)) for pid in _pids())
    ours = os.getpid()
    return [pid for pid, stat in stats if stat and stat.parent == ours and stat.state not in "ZX"]


def end_marked(token: str, timeout_s: float = 5.0) -> None:
    """Kill all processes with this `MARK` in their environment, and wait until they are gone."""
    entry, deadline = f"{MARK}={token}".encode(), time.monotonic() + timeout_s
    while token and (found := [process for process in _marked(entry) if process]):
        for process in found:
            process.kill()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _marked(entry: bytes) -> list[Process | None]:
    found = []
    for pid in _pids():
        with suppress(OSError):  # of another user, or gone
            if entry in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.append(Process.of(pid))
    return found


# ---- the lock -------------------------------------------------------------------------------


def state_folder() -> Path:
    """Return the folder for what is kept of this user; `TargetError` where there is no home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "cim-hal"
    except RuntimeError:
        raise TargetError(
            "this user has no home folder, in which the state of machines could be kept",
            hint="XDG_STATE_HOME names a folder that can be written",
        ) from None


def lock_file(name: str) -> Path:
    """Return the file whose lock stands for a machine: one for each name and user."""
    return state_folder() / "hardware" / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.lock"


def open_lock(path: Path) -> Lock:
    """Return the files of a lock, open and not locked; no program that is started inherits them."""
    hint = "XDG_STATE_HOME names a folder that can be written"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_lock(path, str(error.strerror), hint) from None
    file = _open(path, os.O_RDWR | os.O_CREAT, hint)
    folder = _shared_folder()
    if folder is None:
        return (file,)
    try:
        return file, _open_shared(folder / f"cim-hal-{path.name}")
    except TargetError:
        os.close(file)
        raise


def _shared_folder() -> Path | None:
    """Return the folder that all users of this computer have in common, the same one for each."""
    if chosen := os.environ.get(LOCKS_VARIABLE):
        return Path(chosen)
    for folder in SHARED_FOLDERS:
        with suppress(OSError):
            stat = folder.stat()
            if stat.st_mode & STICKY == STICKY and stat.st_uid == 0:
                return folder
    return None


def _open_shared(path: Path) -> int:
    """Open a file, or make it, that everybody may lock. It is never written, nor is it read."""
    hint = f"who owns it, or root, removes it; {LOCKS_VARIABLE} names another folder"
    with suppress(OSError):  # it is there, or only others may make it
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        os.fchmod(lock, 0o444)  # whatever the mask
        return lock
    return _open(path, os.O_RDONLY, hint)


def _open(path: Path, flags: int, hint: str) -> int:
    try:
        lock = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _no_lock(path, str(error.strerror), hint) from None
    if not S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise _no_lock(path, "it is no regular file", hint)
    return lock


def _no_lock(path: Path, why: str, hint: str) -> TargetError:
    return TargetError(f"the lock file {path} cannot be opened: {why}", hint=hint)


class _Owner(NamedTuple):
    """What stands in the file: the processes that have the machine, and the server they serve."""

    processes: tuple[Process, ...] = ()
    server: Process | None = None
    token: str = ""

    @classmethod
    def read(cls, lock: int) -> _Owner:
        try:
            fields = json.loads(os.pread(lock, 4096, 0))
            processes = tuple(Process(*process) for process in fields["processes"])
            return cls(processes, fields["server"] and Process(*fields["server"]), fields["token"])
        except (ValueError, TypeError, LookupError, RecursionError):
            return cls()

    def write(self, lock: int) -> None:
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(self._asdict()).encode(), 0)

    @property
    def is_alive(self) -> bool:
        """Whether a process of it has not ended."""
        return any(process.is_alive for process in self.processes)

    def check_server(self, ours: int | None) -> None:
        """Refuse to wait for the driver of another server, which lives."""
        if self.server is not None and self.server.pid != ours and self.server.is_alive:
            raise _in_use(f"the server with process number {self.server.pid}")

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        end_marked(self.token)


def own(lock: Lock, *, server: int | None = None, keeper: int | None = None) -> None:
    """Take the lock for as long as this process lives, or until it is released.

    A driver names the process that it serves and its keeper; nobody else has the machine from then
    on. Programs with a driver in their own process share the lock. A holder whose server lives is
    left alone: `TargetError`. One whose server is gone has `WAIT_S` to end, then it is killed. A
    holder of another user is waited for as long, and nothing of it is believed or ended.
    """
    if fcntl is None:
        return
    mode = fcntl.LOCK_SH if server is None else fcntl.LOCK_EX
    file, *shared = lock
    _take(file, mode, server)
    _held.update(lock)
    for of_all in shared:
        late_at = time.monotonic() + WAIT_S
        while not _lock(of_all, mode):
            if time.monotonic() > late_at:
                raise _in_use("another user")
            time.sleep(POLL_S)
    if server is not None:
        end_marked(_Owner.read(file).token)
        here = [Process.of(pid) for pid in (os.getpid(), keeper) if pid is not None]
        _Owner(tuple(filter(None, here)), Process.of(server), os.environ.get(MARK, "")).write(file)


def _take(lock: int, mode: int, server: int | None) -> None:
    """Lock the user's file; end a holder that is too late."""
    began, killed_at = time.monotonic(), math.inf
    while not _lock(lock, mode):
        now, owner = time.monotonic(), _Owner.read(lock)
        owner.check_server(server)
        if now > killed_at + (KILL_S if owner.is_alive else NAMELESS_S):
            raise _in_use(
                " and ".join(f"process {p.pid}" for p in owner.processes if p.is_alive)
                or "a program"
            )
        if now < killed_at and now > began + (WAIT_S if owner.is_alive else NAMELESS_S):
            owner.kill()
            killed_at = now
        time.sleep(POLL_S)


def hold(lock: int) -> bool:
    """Lock an open file for this process alone until `release`; False if another one has it.

    `OSError` where the file system has no locks.
    """
    if fcntl is not None and not _lock(lock, fcntl.LOCK_EX):
        return False
    _held.add(lock)
    return True


class Claim(NamedTuple):
    """What a driver needs to take the lock of its machine, which its keeper has opened."""

    path: Path
    lock: Lock | None
    server: int
    keeper: int

    def take(self) -> None:
        """Take it: see `own`."""
        lock = open_lock(self.path) if self.lock is None else self.lock
        own(lock, server=self.server, keeper=self.keeper)


def release(lock: Lock | None) -> None:
    """Close a lock, if there is one; the machine is free, unless a keeper has it open too."""
    for file in lock or ():
        _held.discard(file)
        os.close(file)


def _lock(lock: int, mode: int) -> bool:
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(by: str) -> TargetError:
    return TargetError(
        f"the machine is in use by {by} on this computer",
        hint="end that first; --hardware tells two machines with one driver apart, and "
        "cim_hal.emulated marks drivers without hardware",
    )


def _forget_locks() -> None:
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
