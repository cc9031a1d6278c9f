from __future__ import annotations

import itertools

import pytest
from cim_wire import PAYLOAD, REF, SteppedCore, measured, runs

from cim_hal.errors import RateLimitedError
from cim_hal.protocol.sharing.sessions import HELLOS, RateLimiter, SessionTable
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import BeginCouplings, Bye, Hello, ListJobs, Ping
from cim_hal.protocol.wire.messages.control import EmergencyStop, LockDevice
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.protocol.wire.version import NEWEST, OLDEST

ALICE, BOB = User("alice", Role.USER), User("bob", Role.USER)
HELLO = Hello(protocols=(OLDEST, NEWEST))


def test_the_sessions_of_one_user_leave_room_for_others():
    bench = SteppedCore(user_sessions=2)
    bench.user = ALICE
    sessions = [bench.hello() for _ in range(2)]
    fault = bench.ask(HELLO)
    assert fault.code == "session.quota"
    assert fault.details == {"what": "user_sessions", "used": 3, "available": 2}
    bench.user = BOB
    bench.hello()
    bench.user = ALICE
    bench.ask(Bye(), sessions[0])
    assert bench.ask(HELLO).t == "welcome"


def _is_open(bench: SteppedCore, session: str) -> bool:
    return bench.ask(Ping(), session).t == "pong"


@pytest.mark.parametrize("limits", [{"user_sessions": 3}, {"max_sessions": 3}])
def test_where_there_is_no_room_the_longest_silent_session_makes_it(limits):
    bench = SteppedCore(**limits)
    bench.user = ALICE
    first, second, third = [bench.hello() for _ in range(3)]
    bench.now = 1.0
    bench.ask(Ping(), first)
    bench.now = 2.5
    assert bench.ask(HELLO).t == "welcome"
    assert [_is_open(bench, token) for token in (first, second, third)] == [True, False, True]


def test_a_session_with_work_makes_room_only_after_a_longer_silence():
    bench = SteppedCore(user_sessions=2, lease_s=30.0, wait_s=30.0, user_queue_length=9)
    bench.user = ALICE
    tokens = [bench.hello() for _ in range(2)]
    bench.load(tokens[0])
    for key, token in enumerate(tokens, 1):
        bench.sample(token, key)
    bench.now = 59.0
    assert bench.ask(HELLO).code == "session.quota"
    bench.now = 61.0
    assert bench.ask(HELLO).t == "welcome"


def test_a_session_that_makes_room_costs_its_user_no_job_and_no_result():
    """One job has ended, one runs and one waits; whoever takes the room, they stay."""
    bench = SteppedCore(max_sessions=1, lease_s=30.0, wait_s=30.0)
    bench.user = ALICE
    token = bench.hello()
    bench.load(token)
    states = [bench.sample(token, key) for key in (1, 2, 3)]
    (run,) = runs(states[0])
    bench.core.finish(run.job, measured(run.program), bench.now)
    bench.now, bench.user = 61.0, BOB
    bench.hello()
    bench.now, bench.user = 122.0, ALICE
    listed = bench.ask(ListJobs(), bench.hello()).jobs
    assert [(job.state.value, job.keep) for job in listed] == [
        ("done", True),
        ("running", True),
        ("queued", True),
    ]
    assert listed[0].n_bytes > 0


def test_a_session_with_the_lock_makes_no_room():
    bench = SteppedCore(user_sessions=1, lease_s=30.0)
    bench.user = ALICE
    holder = bench.hello()
    bench.ask(LockDevice(key="1" * 32), holder)
    bench.now = 10.0
    assert bench.ask(HELLO).code == "session.quota"
    assert _is_open(bench, holder)


def test_a_lesser_role_takes_no_room_from_a_higher_one_and_ends_none_of_its_sessions():
    bench = SteppedCore(max_sessions=2, user_sessions=9)
    opened = {}
    for role in Role:  # the lowest first
        bench.user = User(role.label, role)
        opened[role] = [bench.hello() for _ in range(2)]
    bench.now = 60.0
    for role in Role:
        bench.user = User(f"another {role.label}", role)
        assert bench.ask(HELLO).t == "welcome"
    for role, tokens in opened.items():
        bench.user = User(role.label, role)
        assert [_is_open(bench, token) for token in tokens] == [False, True]


def test_roles_above_fill_the_server_for_those_below():
    bench = SteppedCore(max_sessions=2)
    bench.user = User("olga", Role.OPERATOR)
    for _ in range(2):
        bench.hello()
    bench.now = 60.0
    bench.user = ALICE
    assert bench.ask(HELLO).code == "capability"


def test_an_upload_outlives_the_session_that_made_room():
    bench = SteppedCore(user_sessions=1)
    token = bench.hello()
    begin = BeginCouplings(coupling=REF, spec=PAYLOAD.spec)
    upload = bench.ask(begin, token).upload
    bench.now = 3.0
    again = bench.hello()
    assert not _is_open(bench, token)
    assert bench.ask(begin, again).upload == upload


def test_a_user_may_not_talk_without_end():
    bench = SteppedCore(user_messages_per_s=5.0)
    session = bench.hello()
    answers = [bench.ask(Ping(), session) for _ in range(12)]
    faults = [answer for answer in answers if answer.t == "error"]
    assert len(faults) == 3  # 5 a second, 2 s of them in reserve, and the hello
    assert faults[0].code == "session.rate_limited"
    assert faults[0].details == {"per_s": 5.0, "retry_after_s": pytest.approx(0.2)}
    bench.now += faults[0].details["retry_after_s"]
    assert bench.ask(Ping(), session).t == "pong"
    assert bench.ask(Ping(), session).code == "session.rate_limited"


def test_another_user_is_not_held_up():
    rates = RateLimiter(1.0)
    for _ in range(2):
        rates.count(ALICE, 0.0)
    with pytest.raises(RateLimitedError):
        rates.count(ALICE, 0.0)
    rates.count(BOB, 0.0)


def test_at_a_steady_pace_nobody_is_refused_and_above_it_the_rate_is_kept():
    rates = RateLimiter(10.0)
    for i in range(1000):
        rates.count(ALICE, i / 10)
    taken = 0
    for i in range(10_000):
        try:
            rates.count(BOB, i / 100)
            taken += 1
        except RateLimitedError:
            pass
    assert taken == pytest.approx(10.0 * 100 + 20, abs=2)


def test_an_emergency_stop_is_never_too_much():
    bench = SteppedCore(user_messages_per_s=1.0)
    bench.user = User("olga", Role.OPERATOR)
    session = bench.hello()
    while bench.ask(Ping(), session).t == "pong":
        pass
    assert bench.send(EmergencyStop(), session)[-1].packet.body.stop > 0


def test_users_who_owe_nothing_are_forgotten():
    rates = RateLimiter(1.0)
    rates.count(ALICE, 0.0)
    rates.tick(0.5)
    assert rates._spent
    rates.tick(1.5)
    assert not rates._spent


def test_the_hellos_of_one_user_do_not_make_those_of_another_forgotten():
    tokens = itertools.count()
    table = SessionTable(Limits(), lambda: f"{next(tokens):032x}")
    alices = table.open(ALICE, b"alice", NEWEST, 0.0)
    for number in range(HELLOS + 10):
        table.end(table.open(BOB, number.to_bytes(8, "big"), NEWEST, 0.0).token)
    assert table.opened(ALICE, b"alice", 1.0) is alices
    assert table.opened(BOB, (0).to_bytes(8, "big"), 1.0) is None
