from __future__ import annotations

import time

import pytest
from cim_machines import Annealer, Laboratory

from cim_hal import IsingModel, open_device
from cim_hal.client.transport.local import LocalTransport
from cim_hal.errors import CimError, StorageError
from cim_hal.protocol.effects import Persist
from cim_hal.protocol.jobs import lifecycle
from cim_hal.protocol.wire.messages import Describe, Hello, Ping
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server import service as service_module
from cim_hal.server.executor import MemoryJournal
from cim_hal.server.service import Clock, Service

ERRORS = [MemoryError, OSError, KeyError, RecursionError, RuntimeWarning]
MODEL = IsingModel.from_couplings([[0, 1], [1, 0]])


def test_a_bug_in_the_server_is_answered_and_logged_and_not_fatal(monkeypatch, caplog):
    service = Service(Annealer(), lambda: None)
    try:
        hello = Packet(Kind.REQUEST, bytes(16), Hello(protocols=((1, 0), (1, 0))))
        (welcome,) = service.receive(b"p", hello)
        session = welcome.packet.body.session
        monkeypatch.delitem(service._core._handlers, Describe)
        (reply,) = service.receive(b"p", Packet(Kind.REQUEST, b"i" * 16, Describe(), session))
        (pong,) = service.receive(b"p", Packet(Kind.REQUEST, b"j" * 16, Ping(), session))
    finally:
        service.close()
    assert reply.packet.id == b"i" * 16
    assert reply.packet.body.code == "protocol.remote"
    assert pong.packet.body.t == "pong"
    assert "KeyError" in caplog.text


# ---- one operation, one outcome -------------------------------------------------------------


@pytest.fixture
def session(monkeypatch):
    """A machine in this process, whose service is `session.service`."""
    transport = LocalTransport(Laboratory())
    with open_device(transport) as session:
        monkeypatch.setattr(session, "service", transport._service, raising=False)
        yield session


def _fail_once(monkeypatch, target, name: str, error: type[Exception]) -> None:
    function = getattr(target, name)

    def call(*args, **options):
        monkeypatch.setattr(target, name, function)
        raise error("once")

    monkeypatch.setattr(target, name, call)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("_core", "lowered"),
        ("_core", "finish"),
        ("_executor", "perform"),
        ("_journal", "keep_couplings"),
        ("_journal", "keep_result"),
    ],
)
def test_a_job_that_hits_upon_an_exception_ends_and_the_next_one_runs(
    monkeypatch, session, error, part, name
):
    _fail_once(monkeypatch, getattr(session.service, part), name, error)
    with pytest.raises(CimError, match=error.__name__):
        session.sample(MODEL, seed=1, timeout_s=20.0)
    assert len(session.sample(MODEL, seed=1, timeout_s=20.0).spins) == 1
    assert not session.describe().busy


@pytest.mark.parametrize("error", ERRORS)
def test_a_calibration_whose_outcome_cannot_be_handled_ends(monkeypatch, session, error):
    _fail_once(monkeypatch, service_module, "_age_s", error)
    with pytest.raises(CimError, match=error.__name__):
        session.calibrate(timeout_s=20.0)
    assert session.calibrate(timeout_s=20.0).calibration.facts["gain"] == 3


@pytest.mark.parametrize("error", [*ERRORS, StorageError])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_record_that_cannot_be_written_is_a_move_that_was_not_made(
    monkeypatch, session, error, number
):
    written = []

    def write(self, records):
        del self
        written.extend(records)
        if len(written) == number:
            raise error("the disk is full")
        return [None] * len(records)

    monkeypatch.setattr(MemoryJournal, "write", write)
    monkeypatch.setattr(lifecycle, "RETRY_S", 0.02)
    if number == 1 and error is not StorageError:  # it was not accepted, and trying again is vain
        with pytest.raises(CimError, match="the disk is full"):
            session.submit(MODEL, seed=1)
    else:
        session.sample(MODEL, seed=1, timeout_s=20.0)
    session.sample(MODEL, seed=1, timeout_s=20.0)
    assert not session.describe().busy


def test_effects_after_one_that_fails_are_performed(session, caplog):
    def fail(_now):
        raise KeyError("a bug")

    replies = session.service._perform(
        [Persist(None, fail, fail), *session.service._core.tick(0.0)], lambda _: ["failed"]
    )
    assert replies[0] == "failed"
    assert "KeyError: 'a bug'" in caplog.text


def test_an_exception_as_time_passes_is_not_fatal(monkeypatch, session, caplog):
    _fail_once(monkeypatch, session.service._core, "tick", ZeroDivisionError)
    monkeypatch.setattr(session.service, "_tick_at", 0.0)
    assert session.service.settle() == []
    assert "ZeroDivisionError" in caplog.text


# ---- time -----------------------------------------------------------------------------------


def test_the_clock_tells_the_wall_clock_as_it_was_at_the_start():
    before = time.time()
    assert before <= Clock()() <= time.time()


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
def test_a_wall_clock_that_is_set_does_not_move_the_clock(monkeypatch, step_s):
    clock = Clock()
    before, told = clock(), time.time
    monkeypatch.setattr(time, "time", lambda: told() + step_s)
    assert 0.0 <= clock() - before < 60.0
