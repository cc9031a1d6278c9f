"""Telemetry, interlocks and calibrations, by the core alone."""

from __future__ import annotations

import pytest
from cim_wire import CAPABILITIES, SteppedCore, replies, runs

from cim_hal import Calibration, Reading, Telemetry
from cim_hal.errors import CapabilityError, DriverFaultError
from cim_hal.machine.telemetry import DriverPhase, DriverState
from cim_hal.protocol.effects import Calibrate, Stop
from cim_hal.protocol.handlers.instruments import HISTORY
from cim_hal.protocol.wire.messages import (
    AskDevice,
    CancelCalibration,
    FetchHistory,
    GetCalibration,
    ListCalibrations,
    RunCalibration,
)
from cim_hal.protocol.wire.roles import Role, User

KEY, OTHER = "a" * 32, "b" * 32
RECORD = Calibration(valid_s=600.0, threshold_w=0.01, taken_at=1000.0)


@pytest.fixture
def bench() -> SteppedCore:
    bench = SteppedCore()
    bench.user = User("olga", Role.OPERATOR)
    return bench


@pytest.fixture
def demanding() -> SteppedCore:
    return SteppedCore(CAPABILITIES.model_copy(update={"needs_calibration": True}))


def _telemetry(at: int, **interlocks: bool) -> Telemetry:
    reading = Reading(name="temperature", value=20.0 + at, unit="degC")
    return Telemetry(readings=(reading,), interlocks=interlocks, taken_at=float(at))


# ---- telemetry ------------------------------------------------------------------------------


def test_the_status_has_the_newest_telemetry_and_its_age(bench):
    session = bench.hello()
    assert bench.ask(AskDevice(), session).telemetry is None
    for at in (1, 2):
        bench.core.instruments.heard(_telemetry(at), now=float(at))
    bench.now = 5.0
    status = bench.ask(AskDevice(), session)
    assert status.telemetry == _telemetry(2)
    assert (status.number, status.age_s) == (2, 3.0)


def test_telemetry_is_stale_where_it_is_old_or_of_a_driver_that_is_broken(bench):
    session, heard = bench.hello(), bench.core.instruments.heard
    heard(_telemetry(1), now=1.0)
    for now, is_stale in ((5.9, False), (6.1, True)):
        bench.now = now
        assert bench.ask(AskDevice(), session).telemetry_stale is is_stale
    heard(_telemetry(2), now=6.2)
    bench.now = 7.0
    bench.load(session)
    bench.sample(session)
    bench.now = 18.0  # during a run a driver need not report
    assert not bench.ask(AskDevice(), session).telemetry_stale
    bench.core.instruments.changed(DriverState(phase=DriverPhase.BROKEN, fault="gone"), now=6.3)
    assert bench.ask(AskDevice(), session).telemetry_stale


def test_telemetry_whose_clock_stands_still_grows_old(bench):
    session = bench.hello()
    for now in range(1, 10):
        bench.core.instruments.heard(_telemetry(1), now=float(now))
    bench.now = 9.0
    status = bench.ask(AskDevice(), session)
    assert (status.age_s, status.telemetry_stale, status.number) == (8.0, True, 9)


def test_the_history_goes_on_after_a_number(bench):
    session = bench.hello()
    for at in range(1, 6):
        bench.core.instruments.heard(_telemetry(at), now=float(at))
    history = bench.ask(FetchHistory(after=3), session)
    assert [telemetry.taken_at for telemetry in history.telemetry] == [4.0, 5.0]
    assert (history.first, history.newest) == (4, 5)
    assert bench.ask(FetchHistory(after=5), session).telemetry == ()
    assert bench.ask(FetchHistory(after=99), session).telemetry == ()


def test_the_history_is_bounded_and_comes_in_parts_that_fit_a_message(bench):
    session = bench.hello()
    for at in range(1, HISTORY + 101):
        bench.core.instruments.heard(_telemetry(at), now=float(at))
    part = bench.ask(FetchHistory(), session)
    assert part.first == 101
    found = list(part.telemetry)
    while found[-1] is not part.telemetry[-1] or len(found) < HISTORY:
        part = bench.ask(FetchHistory(after=100 + len(found)), session)
        found += part.telemetry
        assert len(part.telemetry) > 100
    assert [telemetry.taken_at for telemetry in found] == [float(i) for i in range(101, 3701)]


# ---- what forbids to run --------------------------------------------------------------------


def test_an_open_interlock_refuses_jobs_until_it_is_closed(bench):
    session = bench.hello()
    bench.load(session)
    bench.core.instruments.heard(_telemetry(1, lid=False), now=1.0)
    (fault,) = replies(bench.sample(session))
    assert (fault.code, fault.details) == ("device.interlock", {"interlocks": "lid"})
    bench.core.instruments.heard(_telemetry(2, lid=True), now=2.0)
    assert runs(bench.sample(session))


def test_an_interlock_that_opens_while_a_job_waits_refuses_its_run(bench):
    session = bench.hello()
    bench.load(session)
    (run,) = runs(bench.sample(session))
    bench.core.instruments.heard(_telemetry(1, lid=False), now=1.0)
    assert bench.core.instruments.ready(run, now=1.0).refusal.code == "device.interlock"


def test_a_broken_driver_refuses_jobs_and_says_when_it_is_tried_again(bench):
    session = bench.hello()
    bench.load(session)
    broken = DriverState(
        phase=DriverPhase.BROKEN, restarts=5, fault="exit status 1", retry_after_s=30.0
    )
    bench.core.instruments.changed(broken, now=0.0)
    bench.now = 10.0
    (fault,) = replies(bench.sample(session))
    assert fault.code == "device.unavailable"
    assert fault.details == {"retry_after_s": 20.0}
    assert bench.ask(AskDevice(), session).driver.retry_after_s == 20.0
    bench.core.instruments.changed(DriverState(restarts=6), now=11.0)
    assert runs(bench.sample(session))


def test_jobs_that_wait_for_a_broken_driver_start_when_it_works_again(bench):
    session = bench.hello()
    bench.load(session)
    (run,) = runs(bench.sample(session))
    assert runs(bench.sample(session, key=2)) == []
    bench.core.instruments.changed(DriverState(phase=DriverPhase.BROKEN, fault="gone"), now=1.0)
    assert runs(bench.core.finish(run.job, DriverFaultError("gone"), 2.0)) == []
    assert runs(bench.core.tick(2.5)) == []
    bench.core.instruments.changed(DriverState(), now=3.0)
    assert len(runs(bench.core.tick(4.0))) == 1


def test_a_machine_that_needs_a_calibration_refuses_jobs_without_a_young_one(demanding):
    session = demanding.hello()
    demanding.load(session)
    (fault,) = replies(demanding.sample(session))
    assert fault.code == "device.calibration_stale"
    demanding.core.instruments.restore(RECORD, age_s=100.0, now=0.0)
    (run,) = runs(demanding.sample(session))
    demanding.now = 499.0
    ready = demanding.core.instruments.ready(run, demanding.now)
    assert ready.refusal is None
    assert ready.program.calibration == RECORD
    demanding.now = 501.0
    (fault,) = replies(demanding.sample(session, key=2))
    assert fault.details == {
        "fingerprint": RECORD.fingerprint,
        "age_s": 601.0,
        "valid_s": 600.0,
    }
    assert demanding.core.instruments.ready(run, demanding.now).refusal is not None


def test_a_machine_that_needs_none_runs_with_a_stale_one_and_says_which(bench):
    session = bench.hello()
    bench.load(session)
    bench.core.instruments.restore(RECORD, age_s=10_000.0, now=0.0)
    (run,) = runs(bench.sample(session))
    assert bench.core.instruments.ready(run, 0.0).program.calibration == RECORD
    status = bench.ask(AskDevice(), session)
    assert (status.calibration, status.calibration_stale) == (RECORD.fingerprint, True)


# ---- calibrations ---------------------------------------------------------------------------


def test_the_same_key_is_the_same_calibration(bench):
    session = bench.hello()
    (reply, calibrate) = bench.send(RunCalibration(key=KEY), session)
    assert reply.packet.body.state == "running"
    assert isinstance(calibrate, Calibrate)
    assert bench.ask(RunCalibration(key=KEY), session).state == "running"
    bench.core.instruments.calibrated(KEY, RECORD, 0.0, bench.now)
    done = bench.ask(RunCalibration(key=KEY), session)
    assert (done.state, done.fingerprint) == ("done", RECORD.fingerprint)
    assert bench.ask(GetCalibration(), session).calibration == RECORD


def test_who_waits_is_told_at_the_end_or_when_the_time_is_over(bench):
    session = bench.hello()
    assert bench.send(RunCalibration(key=KEY, timeout_s=5.0), session)[0].key == KEY
    bench.now = 6.0
    (late,) = replies(bench.core.tick(bench.now))
    assert late.state == "running"
    assert bench.send(RunCalibration(key=KEY, timeout_s=5.0), session) == []
    error = CapabilityError("calibration", required="one", available="none")
    effects = bench.core.instruments.calibrated(KEY, error, 0.0, bench.now)
    (failed,) = replies(effects)
    assert (failed.state, failed.error.code) == ("failed", "capability")


def test_a_calibration_is_stopped_by_its_key(bench):
    session = bench.hello()
    bench.send(RunCalibration(key=KEY), session)
    stop, _ = bench.send(CancelCalibration(key=KEY), session)
    assert isinstance(stop, Stop)
    assert stop.job == KEY
    assert bench.ask(CancelCalibration(key=OTHER), session).code == "protocol.unknown_reference"


def test_calibrations_are_listed_newest_first_and_found_by_fingerprint(bench):
    session = bench.hello()
    records = [RECORD.model_copy(update={"taken_at": float(at)}) for at in range(300)]
    for record in records:
        bench.core.instruments.restore(record, age_s=0.0, now=0.0)
    listed = bench.ask(ListCalibrations(), session)
    new = RECORD.model_copy(update={"taken_at": 1e9})
    bench.core.instruments.restore(new, age_s=0.0, now=0.0)  # between two pages
    rest = bench.ask(ListCalibrations(first=listed.cursor), session)
    assert (listed.total, rest.total, rest.cursor) == (300, 301, 0)
    found = [entry.taken_at for entry in (*listed.records, *rest.records)]
    assert found == [float(at) for at in reversed(range(300))]
    old = bench.ask(GetCalibration(fingerprint=records[7].fingerprint), session)
    assert (old.calibration, old.is_current) == (records[7], False)
    unknown = bench.ask(GetCalibration(fingerprint="sha256:" + "0" * 64), session)
    assert unknown.details == {"kind": "calibration"}


def test_a_key_of_another_user_is_not_ours(bench):
    session = bench.hello()
    bench.send(RunCalibration(key=KEY), session)
    bench.user = User("otto", Role.OPERATOR)
    assert bench.ask(RunCalibration(key=KEY), bench.hello()).code == "protocol.conflict"


def test_who_may_only_sample_may_not_calibrate(bench):
    bench.user = User("ursula", Role.USER)
    session = bench.hello()
    assert bench.ask(RunCalibration(key=KEY), session).code == "permission"
    assert bench.ask(AskDevice(), session).t == "device.state"


def test_the_ends_of_old_calibrations_are_forgotten(bench):
    session = bench.hello()
    for number in range(200):
        key = f"{number:032x}"
        bench.send(RunCalibration(key=key), session)
        record = RECORD.model_copy(update={"taken_at": float(number)})
        bench.core.instruments.calibrated(key, record, 0.0, 0.0)
    assert len(bench.core.instruments._tasks) <= 64


def test_a_server_that_is_about_to_end_waits_for_calibrations_and_takes_no_new_ones(bench):
    session, core = bench.hello(), bench.core
    bench.send(RunCalibration(key=KEY), session)
    assert core.drain(queue=False)
    refused = bench.ask(RunCalibration(key=OTHER), session)
    assert refused.code == "device.unavailable"
    assert bench.ask(RunCalibration(key=KEY), session).state == "running"
    core.instruments.calibrated(KEY, RECORD, 0.0, now=1.0)
    assert not core.drain(queue=False)
