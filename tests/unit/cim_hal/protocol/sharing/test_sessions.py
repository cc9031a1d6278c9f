from __future__ import annotations

import pytest
from cim_wire import Bench

from cim_hal.errors import RateLimitedError
from cim_hal.protocol.sharing.sessions import RateLimiter
from cim_hal.protocol.wire.messages import Bye, Hello, Ping
from cim_hal.protocol.wire.messages.control import EmergencyStop
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.protocol.wire.version import NEWEST, OLDEST

ALICE, BOB = User("alice", Role.USER), User("bob", Role.USER)
HELLO = Hello(protocols=(OLDEST, NEWEST))


def test_the_sessions_of_one_user_leave_room_for_others():
    bench = Bench(user_sessions=2)
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


def test_a_user_may_not_talk_without_end():
    bench = Bench(user_messages_per_s=5.0)
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
    bench = Bench(user_messages_per_s=1.0)
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
