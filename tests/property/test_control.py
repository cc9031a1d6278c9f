"""Locks and emergency stops under any sequence of requests and time, against a small model."""

from __future__ import annotations

from dataclasses import dataclass

from cim_wire import SteppedCore, measured, replies, runs, sample_request
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cim_hal.errors import JobCancelledError
from cim_hal.protocol.effects import Effect, MakeSafe, Run
from cim_hal.protocol.wire.messages import Ping
from cim_hal.protocol.wire.messages.control import (
    EmergencyStop,
    LockDevice,
    ResetDevice,
    UnlockDevice,
)
from cim_hal.protocol.wire.roles import Role, User

LEASE_S = 30.0
USERS = [User("alice", Role.ADMIN), User("bob", Role.OPERATOR)]


@dataclass(eq=False)
class Client:
    user: User
    session: str
    epoch: int = 0  # what it believes


class Control(RuleBasedStateMachine):
    """Two sessions of each of two users; what they believe of the lock may be out of date."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = SteppedCore(lease_s=LEASE_S, session_s=1e6, result_s=1e6, queue_length=500)
        self.clients: list[Client] = []
        self.running: Run | None = None
        self.keys = 0
        self.epochs: list[int] = []
        self.under: dict[str, int] = {}  # job -> epoch it was accepted under
        # The model: who has the lock, its epoch, and when it ends unless it is renewed.
        self.holder: Client | None = None
        self.epoch, self.until = 0, 0.0
        self.given_back: set[int] = set()
        self.stop = 0

    @initialize()
    def meet(self):
        for user in USERS * 2:
            self.bench.user = user
            session = self.bench.hello()
            self.bench.load(session)
            self.clients.append(Client(user, session))

    def say(self, client: Client, body) -> list[Effect]:
        self.bench.user = client.user
        if self.holder is client and client.epoch == self.epoch:
            self.until = self.bench.now + LEASE_S
        effects = self.bench.send(body, client.session, epoch=client.epoch)
        self.take(effects)
        return effects

    def take(self, effects: list[Effect]) -> None:
        for run in runs(effects):
            assert self.running is None
            assert self.stop == 0
            under = self.under.get(run.job, self.pending)
            assert self.holder is None or under == self.epoch
            # No epoch reaches the machine after it was lost.
            assert under in {0, self.epoch} | self.given_back
            self.running = run

    @rule(i=st.integers(0, 3), stands=st.booleans())
    def lock(self, i, stands):
        client = self.clients[i]
        self.keys += 1
        for_s = 100.0 if stands else None
        request = LockDevice(key=f"{self.keys:032x}", for_s=for_s, stands=stands)
        self.pending = 0
        (answer,) = replies(self.say(client, request))
        if self.holder is not None:
            assert answer.code == "session.locked"
            return
        assert answer.epoch > max(self.epochs, default=0)
        self.epochs.append(answer.epoch)
        client.epoch = self.epoch = answer.epoch
        self.holder = client
        self.until = self.bench.now + (100.0 if stands else LEASE_S)
        if stands:
            self.holder = Client(client.user, "stands", answer.epoch)

    @rule(i=st.integers(0, 3))
    def forget(self, i):
        self.clients[i].epoch = 0

    @precondition(lambda self: self.epochs)
    @rule(i=st.integers(0, 3), data=st.data())
    def believe(self, i, data):
        self.clients[i].epoch = data.draw(st.sampled_from(self.epochs))

    def owns(self, client: Client) -> bool:
        if self.holder is None:
            return False
        if self.holder.session == "stands":
            return self.holder.user == client.user
        return self.holder is client

    @rule(i=st.integers(0, 3), breaks=st.booleans())
    def unlock(self, i, breaks):
        client = self.clients[i]
        owns, was, holder = self.owns(client), self.epoch, self.holder
        request = UnlockDevice(breaks=was if breaks else 0)
        may_break = breaks and holder and (holder.user == client.user or client.user == USERS[0])
        succeeds = (owns or may_break) and client.epoch in (0, was)
        self.pending = 0
        if holder and succeeds:
            # Before the answer is looked at: jobs may start with it.
            self.holder, self.epoch = None, 0
            if owns:
                self.given_back.add(was)
        (answer, *_) = replies(self.say(client, request))
        if holder is None or succeeds:
            assert answer.epoch == 0
        else:
            assert answer.code in {"session.locked", "session.lease_lost", "permission"}

    @rule(i=st.integers(0, 3))
    def sample(self, i):
        client = self.clients[i]
        self.keys += 1
        self.pending = client.epoch
        effects = self.say(client, sample_request(self.keys))
        answer = replies(effects)[0]
        if client.epoch and (self.holder is None or client.epoch != self.epoch):
            assert answer.code == "session.lease_lost"
        elif self.holder is not None and not (client.epoch and self.owns(client)):
            assert answer.code == "session.locked"
        else:
            self.under[answer.job] = client.epoch

    @precondition(lambda self: self.holder in self.clients)
    @rule(n=st.integers(1, 3))
    def work_under_the_lock(self, n):
        for _ in range(n):
            self.sample(self.clients.index(self.holder))

    @rule(i=st.integers(0, 3))
    def ping(self, i):
        assert replies(self.say(self.clients[i], Ping()))[0].t == "pong"

    @precondition(lambda self: self.running)
    @rule(stopped=st.booleans())
    def finish(self, stopped):
        run, self.running = self.running, None
        assert run is not None
        outcome = JobCancelledError("stopped") if stopped else measured(run.program)
        self.take(self.bench.core.finish(run.job, outcome, self.bench.now))

    @rule(i=st.integers(0, 3))
    def stop_all(self, i):
        effects = self.bench_stop(self.clients[i])
        assert isinstance(effects[0], MakeSafe)
        self.stop = replies(effects)[0].stop or self.stop

    def bench_stop(self, client: Client) -> list[Effect]:
        return self.say(client, EmergencyStop())

    @rule(i=st.integers(0, 3), late=st.booleans())
    def reset(self, i, late):
        self.pending = 0
        if self.stop and not late:
            number, self.stop = self.stop, 0
            assert replies(self.say(self.clients[i], ResetDevice(stop=number)))[0].stop == 0
        elif self.stop:
            answer = replies(self.say(self.clients[i], ResetDevice(stop=self.stop - 1)))[0]
            assert answer.code == "protocol.conflict"

    @rule(seconds=st.sampled_from([1.0, 20.0, 45.0]))
    def time_passes(self, seconds):
        self.bench.now += seconds
        if self.holder is not None and self.bench.now >= self.until:
            self.holder, self.epoch = None, 0
        self.pending = 0
        self.take(self.bench.core.tick(self.bench.now))

    @precondition(lambda self: self.holder in self.clients and self.running)
    @rule()
    def the_holder_falls_asleep_in_a_job(self):
        self.time_passes(45.0)
        self.finish(stopped=False)

    @invariant()
    def the_machine_rests_only_with_a_reason(self):
        jobs = self.bench.core._state.jobs
        if self.running is None and not self.stop and self.holder is None:
            assert jobs.queued == 0


TestControl = Control.TestCase
TestControl.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
