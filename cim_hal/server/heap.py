"""How the memory of a server is kept: at hand for the next upload, and not for ever.

Buffers of all sizes come and go for weeks. Left to itself, glibc returns large ones to the system
at once and gets them back page by page, which takes longer than to fill them; and it keeps a heap
for each thread, where what one frees another cannot have.
"""

from __future__ import annotations

import ctypes
import threading
import time

__all__ = ["keep_small"]

PAUSE_S = 30.0
# Numbers of mallopt(3), and values.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
AT_HAND_BYTES = 256 << 20
LARGEST_BYTES = 32 << 20  # the most that glibc takes


def keep_small(pause_s: float = PAUSE_S) -> threading.Thread | None:
    """Keep freed memory for `pause_s` seconds, then give it back; None where it cannot be done.

    For the whole process, from now on; best called before other threads are started. To trim
    the heap takes some milliseconds, in a thread, without the lock of the interpreter.
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
