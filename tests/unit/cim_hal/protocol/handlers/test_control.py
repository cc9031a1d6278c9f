"""Emergency stop and reset, by the core."""

from __future__ import annotations

import pytest
from cim_wire import SteppedCore, measured, replies, runs, sample_request

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol.effects import Audit, MakeSafe, Persist, Stop
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import WaitJob
from cim_hal.protocol.wire.messages.control import EmergencyStop, ResetDevice, SafetyInfo
from cim_hal.protocol.wire.messages.instruments import RunCalibration
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import ANONYMOUS, Role, User

ALICE, OLGA = User("alice", Role.USER), User("olga", Role.OPERATOR)


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore()


@pytest.fixture
def session(bench: SteppedCore) -> str:
    bench.user = OLGA
    token = bench.hello()
    bench.load(token)
    return token


def test_a_stop_makes_the_machine_safe_before_anything_else(bench, session):
    (run,) = runs(bench.sample(session))
    safe, stop, reply = bench.send(EmergencyStop(reason="smoke"), session)
    assert isinstance(safe, MakeSafe)
    assert isinstance(stop, Stop)
    assert stop.job == run.job
    state = reply.packet.body
    assert (state.by, state.reason, state.for_s) == ("olga", "smoke", 0.0)
    assert state.stop > 0
    last = bench.audited[-1]
    assert (last.event, last.user, last.facts["reason"]) == ("estop", OLGA, "smoke")


@pytest.mark.parametrize(
    "outcome", [JobCancelledError("stopped"), DriverFaultError("no light"), None]
)
def test_the_job_that_ran_ends_with_who_stopped_it_and_why(bench, session, outcome):
    (run,) = runs(bench.sample(session))
    bench.send(EmergencyStop(reason="smoke"), session)
    bench.core.finish(run.job, outcome or measured(run.program), bench.now)
    error = bench.ask(WaitJob(job=run.job), session).error
    assert (error.code, error.details["by"]) == ("device.emergency_stop", "olga")
    assert "olga stopped the machine: smoke" in error.message


def test_nothing_starts_until_the_reset(bench, session):
    (run,) = runs(bench.sample(session, 1))
    bench.sample(session, 2)
    number = bench.send(EmergencyStop(), session)[-1].packet.body.stop
    assert runs(bench.core.finish(run.job, JobCancelledError("stopped"), bench.now)) == []
    assert runs(bench.sample(session, 3)) == []
    bench.now += 60.0
    assert runs(bench.core.tick(bench.now)) == []
    assert bench.ask(SafetyInfo(), session).for_s == pytest.approx(60.0)
    effects = bench.send(ResetDevice(stop=number), session)
    assert replies(effects)[0].stop == 0
    assert len(runs(effects)) == 1
    assert bench.audited[-1].event == "reset"


def test_a_stop_twice_makes_safe_twice_and_keeps_the_first_on_record(bench, session):
    first = bench.ask(EmergencyStop(reason="smoke"), session)
    effects = bench.send(EmergencyStop(reason="fire"), session)
    assert isinstance(effects[0], MakeSafe)
    assert (effects[-1].packet.body.stop, effects[-1].packet.body.reason) == (first.stop, "smoke")


def test_a_reset_is_for_the_stop_it_names(bench, session):
    old = bench.ask(EmergencyStop(), session).stop
    assert bench.ask(ResetDevice(stop=old), session).stop == 0
    new = bench.ask(EmergencyStop(), session).stop
    fault = bench.ask(ResetDevice(stop=old), session)
    assert (fault.code, fault.details) == ("protocol.conflict", {"stop": new})
    assert bench.ask(SafetyInfo(), session).stop == new


def test_a_reset_of_nothing_is_no_mistake(bench, session):
    assert bench.ask(ResetDevice(stop=5), session).stop == 0


def test_users_neither_stop_nor_reset_and_may_look(bench):
    bench.user = ALICE
    session = bench.hello()
    for body in (EmergencyStop(), ResetDevice(stop=1)):
        fault = bench.ask(body, session)
        assert (fault.code, fault.details["required"]) == ("permission", "operator")
    assert bench.ask(SafetyInfo(), session).stop == 0


def test_without_keys_the_stop_is_within_everybodys_reach():
    assert ANONYMOUS.role >= Role.OPERATOR


def test_a_stop_needs_no_lock(bench, session):
    from cim_hal.protocol.wire.messages.control import LockDevice

    bench.user = ALICE
    theirs = bench.hello()
    bench.ask(LockDevice(key="1" * 32), theirs)
    bench.user = OLGA
    assert bench.ask(EmergencyStop(), session).stop > 0


def test_a_stopped_machine_is_not_calibrated(bench, session):
    bench.ask(EmergencyStop(reason="smoke"), session)
    fault = bench.ask(RunCalibration(key="1" * 32), session)
    assert fault.code == "device.emergency_stop"


def test_a_job_under_no_lock_waits_through_a_stop_and_is_told_so(bench, session):
    bench.ask(EmergencyStop(), session)
    (status,) = replies(bench.send(sample_request(), session))
    assert status.state is JobState.QUEUED


def test_a_stop_outlasts_the_server_where_a_journal_keeps_it(bench, session):
    number = bench.ask(EmergencyStop(reason="smoke"), session).stop
    kept = bench.core.records[-1]
    after = SteppedCore()
    after.core.restore([], after.now, controls=kept)
    after.user = OLGA
    token = after.hello()
    after.load(token)
    state = after.ask(SafetyInfo(), token)
    assert (state.stop, state.by, state.reason) == (number, "olga", "smoke")
    assert runs(after.sample(token)) == []
    assert len(runs(after.send(ResetDevice(stop=number), token))) == 1


def _recorded(bench):
    """The stop that a server would find that starts now."""
    return bench.core.records[-1].stopped


def test_stop_and_reset_need_no_room_on_the_disk_and_are_written_when_there_is(bench, session):
    bench.core.disk.is_full = True
    stopped = bench.ask(EmergencyStop(reason="smoke"), session)
    assert stopped.stop > 0
    bench.core.disk.is_full = False
    bench.core.tick(bench.now + 0.9)
    assert bench.core.records[-1:] != [stopped]
    bench.core.tick(bench.now + 1.1)
    assert _recorded(bench).number == stopped.stop
    bench.core.disk.is_full = True
    assert bench.ask(ResetDevice(stop=stopped.stop), session).stop == 0
    assert bench.ask(SafetyInfo(), session).stop == 0
    assert _recorded(bench).number == stopped.stop  # in doubt a new server does nothing
    bench.core.disk.is_full = False
    bench.core.tick(bench.now + 1.1)
    assert _recorded(bench) is None


class _SlowDisk:
    """A core whose host writes nothing until it is told to."""

    def __init__(self, core):
        self.core, self.waiting = core, []

    def receive(self, body, now):
        packet = Packet(Kind.REQUEST, bytes(15) + bytes([int(now)]), body)
        return self._perform(self.core.receive(b"p", packet, now, user=OLGA))

    def tick(self, now):
        return self._perform(self.core.tick(now))

    def write(self, now):
        effect = self.waiting.pop(0)
        return effect.record, self._perform(self.core.saved(effect, now))

    def _perform(self, effects):
        self.waiting += [effect for effect in effects if isinstance(effect, Persist)]
        return [effect for effect in effects if not isinstance(effect, Persist | Audit)]


def test_a_stop_is_confirmed_when_it_is_written_or_half_a_second_later(bench):
    disk = _SlowDisk(bench.core._core)
    (safe,) = disk.receive(EmergencyStop(), 1.0)
    assert isinstance(safe, MakeSafe)
    assert replies(disk.tick(1.4)) == []
    (confirmed,) = replies(disk.tick(1.6))
    assert confirmed.stop > 0
    assert replies(disk.write(9.0)[1]) == []
    disk.receive(EmergencyStop(), 10.0)
    assert replies(disk.write(10.1)[1])[0].stop == confirmed.stop


def test_of_stop_and_reset_in_quick_succession_the_last_is_written_last(bench):
    disk = _SlowDisk(bench.core._core)
    disk.receive(EmergencyStop(), 1.0)
    (state,) = replies(disk.tick(2.0))
    assert replies(disk.receive(ResetDevice(stop=state.stop), 3.0))[0].stop == 0
    disk.receive(EmergencyStop(reason="again"), 4.0)
    stops = [disk.write(5.0)[0].stopped for _ in range(3)]
    assert [stop and stop.reason for stop in stops] == ["", None, "again"]
