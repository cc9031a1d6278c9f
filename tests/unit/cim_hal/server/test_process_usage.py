from __future__ import annotations

import os
import sys

import pytest

from cim_hal.server.process_usage import memory_bytes, open_files

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
