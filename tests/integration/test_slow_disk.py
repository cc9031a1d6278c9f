"""A disk that is slow: only those wait for it who were promised something that lies on it."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from slow_disk import compiled

from cim_hal import IsingModel, PumpSchedule, open_device

if TYPE_CHECKING:
    from collections.abc import Callable

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
FSYNC_S = 2.0  # long, beside what a busy machine takes for an answer


@pytest.fixture
def slow_disk(tmp_path, monkeypatch):
    """Makes each fsync of processes that are started slow while a file is there; the file."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs a C compiler on Linux")
    switch = tmp_path / "slow"
    monkeypatch.setenv("LD_PRELOAD", str(compiled(tmp_path)))
    monkeypatch.setenv("CIM_FSYNC_S", str(FSYNC_S))
    monkeypatch.setenv("CIM_FSYNC_SWITCH", str(switch))
    yield switch
    switch.unlink(missing_ok=True)


def test_a_slow_disk_delays_the_promise_that_it_keeps_and_no_other(slow_disk, crashing):
    """The acceptance of a job takes the disk's time; pings and the cancel of another do not."""
    crashing.start()
    with (
        open_device(crashing.endpoint, timeout_s=60.0) as session,
        open_device(crashing.endpoint) as other,
    ):
        running = session.submit(PAIR, PumpSchedule.constant(1.0, round_trips=60_000))
        while not session.describe().busy:
            time.sleep(0.01)
        slow_disk.touch()
        began = time.monotonic()
        submitting = threading.Thread(target=session.submit, args=(PAIR,))
        submitting.start()
        pings_s = [_seconds(other.ping)]
        cancel_s = _seconds(other.job(running.id, PAIR).cancel)
        while submitting.is_alive():
            pings_s.append(_seconds(other.ping))
        assert time.monotonic() - began >= FSYNC_S
        slow_disk.unlink()
    assert len(pings_s) >= 5
    assert max(cancel_s, *pings_s) < FSYNC_S / 2


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began
