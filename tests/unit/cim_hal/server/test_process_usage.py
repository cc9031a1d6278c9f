from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from cim_hal.server.process_usage import max_open_files, memory_bytes, open_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


def test_memory_that_is_touched_is_seen():
    before = memory_bytes()
    block = bytearray(b"x" * 50_000_000)
    after = memory_bytes()
    assert 30e6 < after - before < 120e6
    assert len(block) == 50_000_000


def test_an_open_file_is_seen():
    before = open_files()
    with open(os.devnull, "rb"):  # noqa: PTH123
        assert open_files() == before + 1
    assert open_files(os.getpid()) == before


def test_of_a_process_that_is_not_there_nothing_is_known():
    assert memory_bytes(2**22 + 1) is None
    assert open_files(2**22 + 1) is None


# Fills the heap with blocks below the size that is mapped by itself, frees all but the last, and
# says what is resident before and after.
PROGRAM = """
import ctypes, time
from cim_hal.server.process_usage import keep_small, memory_bytes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(60_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 60_000)
full = memory_bytes()
for block in blocks[:-1]:
    libc.free(block)
kept = memory_bytes()
keep_small(0.05)
until = time.monotonic() + 50.0
while memory_bytes() > full - 50e6 and time.monotonic() < until:
    time.sleep(0.05)
print(full - kept, full - memory_bytes())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="another C library than glibc",
)
def test_what_lies_free_between_blocks_that_stay_goes_back_to_the_system():
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    by_itself, trimmed = map(int, said.stdout.split())
    assert by_itself < 5e6
    assert trimmed > 50e6


def test_a_process_may_open_as_many_files_as_the_system_lets_it():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        most = max_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most > 256
        assert max_open_files() == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
