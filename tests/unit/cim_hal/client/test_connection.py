from __future__ import annotations

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, LocalTransport, LoopbackTransport, PumpSchedule
from cim_hal.client.connection import Connection
from cim_hal.client.couplings import Uploader
from cim_hal.errors import LocalProtocolError, RemoteProtocolError, TransportTimeoutError
from cim_hal.protocol.faults import as_error
from cim_hal.protocol.messages import (
    CouplingRef,
    Description,
    Fault,
    JobStatus,
    Ping,
    Pong,
    Sample,
    Schedule,
    WaitJob,
)
from cim_hal.protocol.packet import Kind, Packet

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


@pytest.fixture(params=[LocalTransport, LoopbackTransport])
def transport(request):
    transport = request.param(Patient())
    yield transport
    transport.close()


def test_an_answer_of_another_type_is_the_servers_mistake(transport):
    with pytest.raises(RemoteProtocolError, match="answered with pong, not with Description"):
        Connection(transport, timeout_s=5.0).ask(Ping(), Description)


def test_a_request_that_breaks_a_rule_is_our_mistake(transport):
    reply = transport.exchange(Packet(Kind.REPLY, b"i" * 16, Pong()), patience_s=5.0)
    assert isinstance(reply.body, Fault)
    error = as_error(reply.body)
    assert isinstance(error, LocalProtocolError)
    assert "must not send replies" in str(error)


def test_an_answer_that_does_not_come_in_time_is_a_timeout(transport):
    connection = Connection(transport, timeout_s=0.05)
    ref = CouplingRef(digest=Uploader(connection).digest(PAIR))
    Uploader(connection).load(PAIR, ref)
    schedule = Schedule(pump=PumpSchedule.constant(1.0, round_trips=1).pump, round_trips=60_000)
    sample = Sample(key="0" * 32, coupling=ref, schedule=schedule, n_runs=1, seed=0)
    job = connection.ask(sample, JobStatus).job
    with pytest.raises(TransportTimeoutError):
        connection.ask(WaitJob(job=job, timeout_s=20.0), JobStatus)
    assert connection.ask(Ping(), Pong).t == "pong"


def test_the_digest_memo_does_not_keep_models_alive():
    transport = LocalTransport(Annealer())
    uploader = Uploader(Connection(transport, timeout_s=5.0))
    try:
        uploader.digest(IsingModel.from_couplings(np.zeros((3, 3))))
        assert len(uploader._contents) == 0
    finally:
        transport.close()
