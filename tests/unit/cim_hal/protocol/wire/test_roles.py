"""Who may ask for what, by the table and by the core."""

from __future__ import annotations

import pytest
from cim_wire import PAYLOAD, REF, SteppedCore, runs

from cim_hal.errors import PermissionDeniedError
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CancelJob,
    Describe,
    FetchResult,
    Hello,
    Ping,
    WaitJob,
)
from cim_hal.protocol.wire.roles import LOCAL, Role, User

ALICE, BOB = User("alice", Role.USER), User("bob", Role.USER)
OSKAR, OLGA = User("oskar", Role.OBSERVER), User("olga", Role.OPERATOR)


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore()


def _as(bench: SteppedCore, user: User) -> str:
    bench.user = user
    return bench.hello()


def test_a_request_without_a_role_is_no_class():
    with pytest.raises(TypeError, match="role"):
        type("Nobodys", (messages.Request,), {})


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("cls", messages.REQUESTS)
def test_a_role_may_all_that_lower_ones_may(cls, role):
    request, user = cls.model_construct(), User("x", role)
    if role >= cls.role:
        request.check(user)
    else:
        with pytest.raises(PermissionDeniedError, match=f"the role {cls.role.label}"):
            request.check(user)


def test_an_observer_looks_and_does_not_touch(bench):
    session = _as(bench, OSKAR)
    assert bench.ask(Ping(), session).t == "pong"
    assert bench.ask(Describe(), session).queued == 0
    fault = bench.ask(BeginCouplings(coupling=REF, spec=PAYLOAD.spec), session)
    assert fault.code == "permission"
    assert fault.details == {"what": "couplings.begin", "required": "user", "role": "observer"}
    assert [(audit.event, audit.user) for audit in bench.audited] == [
        ("session", OSKAR),
        ("denied", OSKAR),
    ]


def test_a_session_is_of_no_use_to_another_user(bench):
    session = _as(bench, ALICE)
    bench.user = BOB
    fault = bench.ask(Ping(), session)
    assert (fault.code, fault.details) == ("protocol.unknown_reference", {"kind": "session"})
    bench.user = LOCAL  # whatever the role
    assert bench.ask(Ping(), session).code == "protocol.unknown_reference"


def test_a_role_that_changes_counts_from_the_next_message_on(bench):
    session = _as(bench, ALICE)
    bench.load(session)
    bench.user = User("alice", Role.OBSERVER)
    assert bench.ask(CancelJob(job="0" * 32), session).code == "permission"
    assert bench.ask(Ping(), session).t == "pong"


@pytest.mark.parametrize(
    ("user", "code"), [(BOB, "protocol.unknown_reference"), (OSKAR, "permission")]
)
def test_the_job_of_another_user_is_not_for_users_to_cancel(bench, user, code):
    session = _as(bench, ALICE)
    bench.load(session)
    (run,) = runs(bench.sample(session))
    theirs = _as(bench, user)
    assert bench.ask(CancelJob(job=run.job), theirs).code == code


def test_an_operator_cancels_any_job_and_reads_none(bench):
    session = _as(bench, ALICE)
    bench.load(session)
    (run,) = runs(bench.sample(session))
    theirs = _as(bench, OLGA)
    for body in (WaitJob(job=run.job), FetchResult(job=run.job)):
        assert bench.ask(body, theirs).code == "protocol.unknown_reference"
    assert bench.ask(CancelJob(job=run.job), theirs).state == "stopping"
    last = bench.audited[-1]
    assert (last.event, last.user) == ("cancel", OLGA)
    assert last.facts == {"job": run.job, "owner": "alice", "state": "stopping"}


def test_what_is_asked_in_a_header_makes_nobody_somebody(bench):
    bench.user = OSKAR
    session = bench.ask(Hello(protocols=((1, 0), (1, 0)), client="admin")).session
    assert bench.ask(CancelJob(job="0" * 32), session).code == "permission"
