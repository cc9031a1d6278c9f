"""What fits the terminal, and what hostile text does to it: nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cim_hal import Reading, Telemetry
from cim_hal.machine.telemetry import DriverState
from cim_hal.protocol.wire.messages.instruments import DeviceStatus
from cim_hal.protocol.wire.messages.status import (
    EventSummary,
    JobSummary,
    LockSummary,
    SessionSummary,
    StatusReport,
    StopSummary,
    Throughput,
)
from cim_hal.server.status_snapshot import StatusSnapshot
from cim_hal.watch.poller import History
from cim_hal.watch.screen import draw

SIZES = [(80, 24), (104, 32), (200, 60), (60, 24), (40, 12), (20, 5)]


def _job(number: int, **changes: Any) -> JobSummary:
    fields = {"user": "alice", "state": "queued", "n_spins": 2000, "n_runs": 64}
    fields |= {"round_trips": 2000, "waited_s": 61.5 * number}
    return JobSummary.model_validate({"job": f"{number:08x}" + "0" * 24, **fields, **changes})


def _telemetry(at: float = 1.0, power: float = 12.5) -> Telemetry:
    readings = (
        Reading(name="pump_power", value=power, unit="mW"),
        Reading(name="cavity_locked", value=True),
    )
    return Telemetry(readings=readings, interlocks={"lid": True, "laser": True}, taken_at=at)


def _status(**changes: Any) -> StatusReport:
    fields: dict[str, Any] = {
        "device": "fibre-loop",
        "software": "cim-hal 0.1.0",
        "instance": "0" * 32,
        "uptime_s": 11_525.0,
        "state": "running",
        "machine": DeviceStatus(driver=DriverState(), telemetry=_telemetry(), number=1),
        "running": _job(7, state="running", ran_s=3.0, expected_s=6.0),
        "queued": 40,
        "queue": tuple(_job(number, user="bob") for number in range(20, 36)),
        "ended": {"done": 120, "failed": 3},
        "recent": tuple(
            _job(n, state="failed", reason="device.lock_lost", ran_s=0.4, ended_ago_s=5.0)
            for n in range(40, 56)
        ),
        "n_sessions": 1,
        "sessions": (
            SessionSummary(session="9d3f01c2", user="bob", client="x", age_s=5.0, idle_s=0.1),
        ),
        "events": (
            EventSummary(event="job started", user="alice", ago_s=3.0, facts={"job": "7" * 32}),
        ),
        "throughput": Throughput(bucket_s=5.0, jobs=(1, 8), runs=(64, 512), busy_s=(2.5, 5.0)),
    }
    return StatusReport(**(fields | changes))


def _shown(snapshot: StatusSnapshot | None, width: int = 80, height: int = 24) -> list[str]:
    history = History()
    if snapshot:
        history.add(snapshot)
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, color_system=None)
    console.print(draw(snapshot, history, width=width, height=height), height=height)
    return stream.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_a_terminal_of_any_size(width, height):
    for status in (_status(), _status(running=None, queue=(), queued=0, machine=None), None):
        lines = _shown(StatusSnapshot("tcp://127.0.0.1:5555", status), width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_80_by_24_shows_what_a_person_wants_to_know():
    text = "\n".join(_shown(StatusSnapshot("tcp://127.0.0.1:5555", _status())))
    for words in (
        "fibre-loop", "tcp://127.0.0.1:5555", "● running", "up 3:12:05",
        "00000007  alice  2000 spins × 64 runs × 2000 round trips", "3.0 s of about 6.0 s",
        "40, 35 more below", "00000014", "bob", "2000×64×2k",
        "closed: lid, laser", "pump_power", "12.5 mW", "cavity_locked", "yes",
        "9 jobs, 576 runs", "54.0/min", "75%",
        "120 done, 3 failed", "device.lock", "job started 77777777 alice", "1 session open",
        "q quits",
    ):  # fmt: skip
        assert words in text


def test_a_job_that_takes_longer_than_it_should_is_not_called_done():
    running = _job(7, state="running", ran_s=9.0, expected_s=6.0)
    text = "\n".join(_shown(StatusSnapshot("x", _status(running=running))))
    assert "9.0 s, longer than the expected 6.0 s" in text


def test_the_word_of_the_machine_goes_before_an_estimate():
    running = _job(7, state="running", ran_s=3.0, expected_s=6.0, progress=0.25)
    assert "25%, 3.0 s of about 6.0 s" in "\n".join(
        _shown(StatusSnapshot("x", _status(running=running)))
    )


def test_who_has_the_machine_alone_is_said_and_who_stopped_it():
    lock = LockSummary(holder="olga", note="aligning", epoch=3, expires_in_s=240.0)
    assert "locked by olga: aligning, 4:00 left" in "\n".join(
        _shown(StatusSnapshot("x", _status(lock=lock)))
    )
    stop = StopSummary(by="oskar", reason="smoke", for_s=3.0)
    text = "\n".join(_shown(StatusSnapshot("x", _status(lock=lock, stop=stop, state="stopped"))))
    assert "emergency stop by oskar: smoke" in text
    assert "● stopped" in text


def test_trouble_is_said_and_the_last_report_stays():
    before = StatusSnapshot("x", _status())
    text = "\n".join(_shown(StatusSnapshot("x", trouble="nobody answers").after(before)))
    assert "no connection" in text
    assert "nobody answers" in text
    assert "pump_power" in text


def test_before_the_first_report_it_says_why_there_is_none():
    text = "\n".join(_shown(StatusSnapshot("tcp://127.0.0.1:1", trouble="nobody answers there")))
    assert "nobody answers there" in text
    assert "trying again" in text
    assert "looking" in _shown(None)[0]


def test_an_open_interlock_and_a_restarted_driver_are_not_overlooked():
    driver = DriverState(phase="broken", restarts=3, fault="exit 139")  # pyright: ignore
    telemetry = Telemetry(interlocks={"lid": False, "laser": True}, taken_at=1.0)
    machine = DeviceStatus(driver=driver, telemetry=telemetry, number=1)
    text = "\n".join(_shown(StatusSnapshot("x", _status(machine=machine))))
    assert "interlock open: lid" in text
    assert "driver broken, restarted 3×" in text


def test_text_of_others_moves_no_cursor_and_is_no_markup():
    evil = "\x1b[2Jev\ril[red]\n"
    status = _status(
        running=_job(7, state="running", user=evil),
        events=(EventSummary(event=evil, user=evil, ago_s=1.0, facts={"client": evil}),),
        lock=LockSummary(holder=evil, note=evil, epoch=1),
        device=evil,
    )
    lines = _shown(StatusSnapshot("x", status, trouble=evil))
    assert len(lines) == 24
    assert all(char.isprintable() for line in lines for char in line)
    assert "[red]" in "\n".join(lines)


def test_history_keeps_each_moment_once_and_in_order():
    history = History(length=4)
    past = tuple(_telemetry(float(at), float(at)) for at in range(1, 4))
    status = _status(machine=DeviceStatus(driver=DriverState(), telemetry=past[-1], number=3))
    history.add(StatusSnapshot("x", status, past=past))
    history.add(StatusSnapshot("x", status))
    assert history.values("pump_power") == [1.0, 2.0, 3.0]
    for at in (4.0, 5.0):
        machine = DeviceStatus(driver=DriverState(), telemetry=_telemetry(at, at), number=4)
        history.add(StatusSnapshot("x", _status(machine=machine)))
    assert history.values("pump_power") == [2.0, 3.0, 4.0, 5.0]
    assert "cavity_locked" not in history.series
    assert history.units == {"pump_power": "mW"}
