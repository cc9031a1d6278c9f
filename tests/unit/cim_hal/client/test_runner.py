from __future__ import annotations

import math
import threading

import pytest
from cim_machines import Patient

from cim_hal import IsingModel, LocalTransport, LoopbackTransport, PumpSchedule
from cim_hal.client.options import Retries
from cim_hal.client.requests import RequestClient
from cim_hal.client.runner import Runner
from cim_hal.client.steps import Sleep
from cim_hal.client.uploads import Uploader
from cim_hal.errors import (
    ClosedError,
    LocalProtocolError,
    RemoteProtocolError,
    TransportTimeoutError,
)
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.messages import (
    CouplingRef,
    Description,
    ErrorMessage,
    JobStatus,
    Ping,
    Pong,
    Sample,
    Schedule,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


@pytest.fixture(params=[LocalTransport, LoopbackTransport])
def runner(request):
    runner = Runner(lambda: request.param(Patient()))
    yield runner
    runner.close()


def test_an_answer_of_another_type_is_the_servers_mistake(runner):
    with pytest.raises(RemoteProtocolError, match="answered with pong, not with Description"):
        runner.run(RequestClient(timeout_s=5.0, retries=Retries()).ask(Ping(), Description))


def test_a_request_that_breaks_a_rule_is_our_mistake(runner):
    reply = runner.transport.exchange(Packet(Kind.REPLY, b"i" * 16, Pong()), timeout_s=5.0)
    assert isinstance(reply.body, ErrorMessage)
    error = as_error(reply.body)
    assert isinstance(error, LocalProtocolError)
    assert "must not send replies" in str(error)


def test_an_answer_that_does_not_come_in_time_is_a_timeout(runner):
    client = RequestClient(timeout_s=0.5, retries=Retries())
    uploader = Uploader(client)
    ref = CouplingRef(digest=uploader.digest(PAIR))
    runner.run(uploader.load(PAIR, ref, math.inf))
    schedule = Schedule(pump=PumpSchedule.constant(1.0, round_trips=1).pump, round_trips=60_000)
    sample = Sample(key="0" * 32, coupling=ref, schedule=schedule, n_runs=1, seed=0)
    job = runner.run(client.ask(sample, JobStatus)).job
    with pytest.raises(TransportTimeoutError, match=r"gave no answer within 0\.5 s"):
        runner.run(client.ask(WaitJob(job=job, timeout_s=20.0), JobStatus))
    assert runner.run(client.ask(Ping(), Pong)).t == "pong"


def test_a_sleep_ends_when_the_runner_is_closed(runner):
    def steps():
        timer.start()
        yield Sleep(600.0)

    timer = threading.Timer(0.1, runner.close)
    with pytest.raises(ClosedError):
        runner.run(steps())
    timer.join()
