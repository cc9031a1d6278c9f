"""Locks, leases and epochs, by the core."""

from __future__ import annotations

from typing import Any

import pytest
from cim_wire import SteppedCore, measured, replies, runs, sample_request

from cim_hal.protocol.effects import Audit
from cim_hal.protocol.jobs.records import EpochRecord
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import Bye, CancelJob, Describe, Message, Ping, WaitJob
from cim_hal.protocol.wire.messages.control import LockDevice, LockInfo, UnlockDevice
from cim_hal.protocol.wire.roles import Role, User

ALICE, BOB = User("alice", Role.USER), User("bob", Role.USER)
OSKAR, ADA = User("oskar", Role.OBSERVER), User("ada", Role.ADMIN)


class Client:
    """A session of one user, which carries the epoch it believes in."""

    def __init__(self, bench: SteppedCore, user: User) -> None:
        self.bench, self.user, self.epoch = bench, user, 0
        bench.user = user
        self.session = bench.hello()
        if user.role > Role.OBSERVER:
            bench.load(self.session)

    def send(self, body: Message) -> list:
        self.bench.user = self.user
        return self.bench.send(body, self.session, epoch=self.epoch)

    def ask(self, body: Message) -> Any:
        return replies(self.send(body))[-1]

    def lock(self, key: int = 1, **options: Any) -> Any:
        state = self.ask(LockDevice(key=f"{key:032x}", **options))
        if state.t == "lock.state":
            self.epoch = state.epoch
        return state

    def sample(self, key: int = 1, **changes: Any) -> Any:
        told = self.ask(sample_request(key, **changes))  # queued, and started right after
        return self.ask(WaitJob(job=told.job)) if told.t == "job.status" else told


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore(lease_s=30.0)


@pytest.fixture
def alice(bench: SteppedCore) -> Client:
    return Client(bench, ALICE)


@pytest.fixture
def bob(bench: SteppedCore) -> Client:
    return Client(bench, BOB)


def _wait(bench: SteppedCore, seconds: float) -> list:
    bench.now += seconds
    effects = bench.core.tick(bench.now)
    bench.audited += [effect for effect in effects if isinstance(effect, Audit)]
    return effects


# ---- who has it -----------------------------------------------------------------------------


def test_a_free_machine_is_everybodys(alice, bob):
    assert alice.ask(LockInfo()).epoch == 0
    assert alice.sample().state is JobState.RUNNING
    assert bob.sample().state is JobState.QUEUED


def test_a_locked_machine_is_for_one_and_the_others_are_told_who_and_why(alice, bob):
    state = alice.lock(note="aligning", for_s=600.0)
    assert (state.holder, state.note, state.is_yours, state.lease_s) == (
        "alice", "aligning", True, 30.0,
    )  # fmt: skip
    assert alice.sample().state is JobState.RUNNING
    fault = bob.sample()
    assert fault.code == "session.locked"
    assert fault.details == {"holder": "alice", "note": "aligning", "expires_in_s": 30.0}
    assert bob.lock().code == "session.locked"


def test_looking_is_always_allowed(alice, bob, bench):
    alice.lock()
    alice.sample()
    assert bob.ask(Describe()).busy
    assert bob.ask(Ping()).t == "pong"
    assert (bob.ask(LockInfo()).holder, bob.ask(LockInfo()).is_yours) == ("alice", False)
    assert bench.load(bob.session)  # couplings may be brought for later
    assert Client(bench, OSKAR).ask(LockInfo()).holder == "alice"


def test_an_observer_may_not_lock(bench):
    assert Client(bench, OSKAR).lock().code == "permission"


def test_a_machine_given_back_is_free(alice, bob):
    alice.lock()
    assert alice.ask(UnlockDevice()).epoch == 0
    assert bob.sample().state is JobState.RUNNING


def test_to_unlock_a_free_machine_is_no_mistake(alice):
    assert alice.ask(UnlockDevice()).epoch == 0


def test_a_session_that_ends_gives_the_machine_back(alice, bob, bench):
    alice.lock()
    alice.ask(Bye())
    assert bob.lock().holder == "bob"
    assert [audit.event for audit in bench.audited if "lock" in audit.event] == [
        "lock",
        "unlock",
        "lock",
    ]


# ---- epochs ---------------------------------------------------------------------------------


def test_every_lock_has_a_larger_epoch(alice, bob):
    epochs = []
    for key in range(1, 5):
        client = (alice, bob)[key % 2]
        epochs.append(client.lock(key).epoch)
        client.ask(UnlockDevice())
    assert epochs == sorted(set(epochs))


def test_the_first_epoch_is_the_hosts_to_choose():
    later = SteppedCore(first_epoch=10**12)
    assert Client(later, ALICE).lock().epoch == 10**12


def test_a_message_without_the_epoch_is_not_the_holders(alice):
    alice.lock()
    alice.epoch = 0
    fault = alice.sample()
    assert (fault.code, fault.details["holder"]) == ("session.locked", "alice")


def test_the_epoch_of_another_is_of_no_use(alice, bob):
    bob.epoch = alice.lock().epoch
    assert bob.sample().code == "session.locked"
    assert bob.ask(UnlockDevice()).code == "session.locked"


def test_who_slept_through_the_lease_cannot_touch_the_machine_of_another(alice, bob, bench):
    alice.lock()
    _wait(bench, 31.0)
    bob.lock()
    fault = alice.sample()
    assert (fault.code, fault.details["holder"]) == ("session.lease_lost", "bob")
    assert alice.ask(UnlockDevice()).code == "session.lease_lost"
    assert bob.ask(LockInfo()).is_yours
    assert bob.sample().state is JobState.RUNNING


def test_an_old_epoch_is_refused_on_a_free_machine_too(alice, bench):
    alice.lock()
    _wait(bench, 31.0)
    assert alice.sample().code == "session.lease_lost"
    alice.epoch = 0
    assert alice.sample().state is JobState.RUNNING


def test_a_request_that_comes_again_gets_the_same_lock(alice, bench):
    first = alice.lock(key=7)
    bench.now += 5.0
    again = alice.lock(key=7)
    assert again.epoch == first.epoch
    assert [audit.event for audit in bench.audited if audit.event == "lock"] == ["lock"]


def test_a_late_copy_of_a_request_brings_no_lock_back(alice, bob):
    alice.lock(key=7)
    alice.ask(UnlockDevice())
    assert alice.lock(key=7).code == "session.lease_lost"
    assert bob.ask(LockInfo()).epoch == 0


def test_a_late_copy_of_an_unlock_ends_no_later_lock(alice):
    old = alice.lock(key=1).epoch
    alice.ask(UnlockDevice())
    new = alice.lock(key=2).epoch
    alice.epoch = old
    assert alice.ask(UnlockDevice()).code == "session.lease_lost"
    assert alice.ask(LockInfo()).epoch == new


# ---- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [Ping(), Describe(), LockInfo()])
def test_any_message_with_the_epoch_renews_the_lease(alice, bob, bench, body):
    alice.lock()
    for _ in range(5):
        _wait(bench, 29.0)
        alice.ask(body)
    assert bob.sample().code == "session.locked"


def test_a_message_without_the_epoch_renews_nothing(alice, bob, bench):
    alice.lock()
    alice.epoch = 0
    for _ in range(4):
        _wait(bench, 10.0)
        alice.ask(Ping())
    assert bob.sample().state is JobState.RUNNING


def test_a_lease_ends_at_a_tick_and_only_there(alice, bob, bench):
    alice.lock()
    bench.now += 1000.0
    assert bob.sample().code == "session.locked"
    assert alice.sample().state is JobState.RUNNING  # and renews it
    _wait(bench, 29.9)
    assert bob.sample().code == "session.locked"
    _wait(bench, 0.1)
    assert bob.sample().state is JobState.QUEUED
    assert [audit.event for audit in bench.audited][-2:] == ["lock expired", "job"]


def test_a_lock_for_a_time_ends_however_lively_its_holder(alice, bench):
    alice.lock(for_s=60.0)
    for _ in range(5):
        _wait(bench, 11.0)
        assert alice.ask(LockInfo()).is_yours
    _wait(bench, 11.0)
    assert alice.sample().code == "session.lease_lost"


def test_a_lock_that_stands_outlives_its_session_and_serves_the_user(alice, bob, bench):
    epoch = alice.lock(for_s=600.0, stands=True).epoch
    alice.ask(Bye())
    _wait(bench, 500.0)
    assert bob.sample().code == "session.locked"
    again = Client(bench, ALICE)
    assert again.sample().code == "session.locked"  # the epoch must be known
    again.epoch = epoch
    assert again.ask(LockInfo()).stands
    assert again.sample().state is JobState.RUNNING
    assert Client(bench, ALICE).ask(UnlockDevice()).epoch == 0


def test_a_lock_that_stands_ends_in_time(alice, bob, bench):
    alice.lock(for_s=600.0, stands=True)
    _wait(bench, 599.9)
    assert bob.sample().code == "session.locked"
    _wait(bench, 0.1)
    assert bob.sample().state is JobState.RUNNING


def test_a_lock_without_an_end_does_not_stand(alice, bench):
    assert not alice.lock(stands=True).stands


# ---- breaking -------------------------------------------------------------------------------


def test_an_admin_breaks_a_lock_and_it_is_written_down(alice, bob, bench):
    epoch = alice.lock(note="lunch").epoch
    ada = Client(bench, ADA)
    assert ada.ask(UnlockDevice(breaks=epoch)).epoch == 0
    last = bench.audited[-1]
    assert (last.event, last.user) == ("lock broken", ADA)
    assert last.facts == {"epoch": epoch, "holder": "alice", "note": "lunch"}
    assert alice.sample().code == "session.lease_lost"
    assert bob.sample().state is JobState.RUNNING


def test_nobody_else_breaks_the_lock_of_another_user(alice, bob, bench):
    epoch = alice.lock().epoch
    for client in (bob, Client(bench, User("olga", Role.OPERATOR))):
        fault = client.ask(UnlockDevice(breaks=epoch))
        assert (fault.code, fault.details["required"]) == ("permission", "admin")
    assert alice.ask(LockInfo()).is_yours


def test_a_user_breaks_a_lock_of_a_lost_session(alice, bench):
    epoch = alice.lock().epoch
    again = Client(bench, ALICE)
    assert again.ask(UnlockDevice()).code == "session.locked"
    assert again.ask(UnlockDevice(breaks=epoch)).epoch == 0


def test_a_late_copy_of_a_break_breaks_nothing_else(alice, bench):
    old = alice.lock(key=1).epoch
    ada = Client(bench, ADA)
    ada.ask(UnlockDevice(breaks=old))
    alice.epoch = 0
    alice.lock(key=2)
    assert ada.ask(UnlockDevice(breaks=old)).code == "session.lease_lost"
    assert alice.ask(LockInfo()).is_yours


# ---- jobs -----------------------------------------------------------------------------------


def test_jobs_of_others_wait_while_a_lock_is_held(alice, bob, bench):
    (run,) = runs(bob.send(sample_request(1)))
    bob.sample(2)
    alice.lock()
    alice.sample(3, seed=3)
    (started,) = runs(bench.core.finish(run.job, measured(run.program), bench.now))
    assert started.program.seed == 3  # though bob's second job came first
    assert runs(bench.core.finish(started.job, measured(started.program), bench.now)) == []
    (after,) = runs(alice.send(UnlockDevice()))
    assert after.program.seed == 7


def test_the_running_job_of_another_goes_on(alice, bob, bench):
    (run,) = runs(bob.send(sample_request()))
    alice.lock()
    bench.core.finish(run.job, measured(run.program), bench.now)
    assert bob.ask(WaitJob(job=run.job)).state is JobState.DONE


def test_jobs_that_wait_under_a_lock_that_was_given_back_run_as_ordinary_ones(alice, bob, bench):
    alice.lock()
    (run,) = runs(alice.send(sample_request(1)))
    waiting = alice.sample(2).job
    alice.ask(UnlockDevice())
    bob.lock()
    assert runs(bench.core.finish(run.job, measured(run.program), bench.now)) == []
    (started,) = runs(bob.send(UnlockDevice()))
    assert started.job == waiting


def test_jobs_that_wait_under_a_lock_that_was_lost_never_start(alice, bob, bench):
    alice.lock()
    (run,) = runs(alice.send(sample_request(1)))
    waiting = alice.sample(2).job
    _wait(bench, 31.0)
    status = alice.ask(WaitJob(job=waiting))
    assert (status.state, status.error.code) == (JobState.CANCELLED, "session.lease_lost")
    assert alice.ask(WaitJob(job=run.job)).state is JobState.RUNNING  # what runs goes on
    assert runs(bench.core.finish(run.job, measured(run.program), bench.now)) == []
    assert bob.sample().state is JobState.RUNNING


def test_a_job_that_was_accepted_is_told_again_whatever_became_of_the_lock(alice, bench):
    alice.lock()
    job = alice.sample(1).job
    _wait(bench, 31.0)
    assert alice.sample(1).job == job


def test_a_job_of_ones_own_may_be_cancelled_under_the_lock_of_another(alice, bob):
    bob.sample(1)
    job = bob.sample(2).job
    alice.lock()
    assert bob.ask(CancelJob(job=job)).state is JobState.CANCELLED


def test_no_old_epoch_may_start_on_a_free_machine_either(alice, bench):
    leases = bench.core._state.locks
    assert leases.allows(0)
    epoch = alice.lock().epoch
    assert (leases.allows(0), leases.allows(epoch)) == (False, True)
    _wait(bench, 31.0)
    assert (leases.allows(0), leases.allows(epoch)) == (True, False)


def test_epochs_grow_though_the_clock_of_the_host_was_set_back(alice, bench):
    epoch = alice.lock().epoch
    kept = EpochRecord(bench.core.records[-1].number, None)
    after = SteppedCore(first_epoch=1)
    after.core.restore([], after.now, controls=kept)
    assert Client(after, ALICE).lock().epoch == epoch + 1


def test_a_lock_that_cannot_be_written_down_is_not_given(alice, bob, bench):
    bench.core.disk.is_full = True
    assert alice.lock(key=7).code == "server.storage"
    bench.core.disk.is_full = False
    assert bob.sample().state is JobState.RUNNING
    assert alice.lock(key=7).holder == "alice"  # the same request again
