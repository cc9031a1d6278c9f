"""Memory that the allocator keeps back, given back to the system now and then."""

from __future__ import annotations

import ctypes
import threading
import time

__all__ = ["keep_small"]

PAUSE_S = 30.0


def keep_small(pause_s: float = PAUSE_S) -> threading.Thread | None:
    """Give free pages back every `pause_s` seconds, in a thread; None where it cannot be done.

    Buffers of all sizes come and go for weeks, and glibc keeps what lies free between those that
    stay. To trim its heaps takes some milliseconds, without the lock of the interpreter.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int

    def loop() -> None:
        while True:
            time.sleep(pause_s)
            trim(0)

    thread = threading.Thread(target=loop, name="cim-hal heap", daemon=True)
    thread.start()
    return thread
