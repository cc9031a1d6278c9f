"""Memory and open files of a process, and how long freed memory is kept.

Buffers of all sizes come and go for weeks. By default glibc returns large ones to the system at
once and gets them back page by page, which takes longer than filling them; and it keeps a heap for
each thread, whose free memory no other thread can use.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from pathlib import Path

__all__ = ["keep_small", "max_open_files", "memory_bytes", "open_files"]

DEFAULT_FILES, MOST_FILES = 512, 65_536
PAUSE_S = 30.0
# Numbers of mallopt(3), and values.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
AT_HAND_BYTES = 256 << 20
LARGEST_BYTES = 32 << 20  # the most that glibc takes


def memory_bytes(pid: int | None = None) -> int | None:
    """Return the resident memory of a process, by default this one; None if it is unknown.

    It is known where there is ``/proc`` (Linux).
    """
    try:
        statm = (_proc(pid) / "statm").read_text(encoding="ascii")
    except OSError:
        return None
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int | None = None) -> int | None:
    """Return the number of open file descriptors of a process; None if it is unknown."""
    try:
        return len(os.listdir(_proc(pid) / "fd"))  # noqa: PTH208  half the time of iterdir
    except OSError:
        return None


def max_open_files() -> int:
    """Return how many files this process may open; as many as the system lets it from now on."""
    try:
        import resource  # not on Windows
    except ImportError:
        return DEFAULT_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def keep_small(pause_s: float = PAUSE_S) -> threading.Thread | None:
    """Keep freed memory for about `pause_s` seconds before the system gets it back.

    This holds for the whole process from now on; call it before other threads are started. A
    thread trims the heap, which takes some milliseconds without the interpreter's lock. Returns
    that thread; None if the C library is not glibc.
    """
    try:
        library = ctypes.CDLL(None)
        trim, mallopt = library.malloc_trim, library.mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    mallopt(ARENA_MAX, 1)
    mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
    mallopt(TRIM_THRESHOLD, AT_HAND_BYTES)

    def loop() -> None:
        while True:
            time.sleep(pause_s)
            trim(0)

    thread = threading.Thread(target=loop, name="cim-hal heap", daemon=True)
    thread.start()
    return thread


def _proc(pid: int | None) -> Path:
    return Path("/proc") / ("self" if pid is None else str(pid))
