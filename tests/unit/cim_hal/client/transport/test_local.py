from __future__ import annotations

import time

from cim_machines import Patient

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.client.transport.local import LocalTransport
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import WaitJob

MODEL = IsingModel.from_couplings([[0, 1], [1, 0]])


def test_a_thread_that_is_held_up_beyond_its_time_still_gets_its_reply():
    transport = LocalTransport(Patient())
    with open_device(transport) as session:
        job = session.submit(MODEL, PumpSchedule.constant(1.0, round_trips=60_000), seed=1)
        client = session._client
        wait = client.packet(WaitJob(job=job.id, timeout_s=0.01), client.welcome)
        stream = transport.subscribe(wait, timeout_s=0.0)
        time.sleep(0.5)  # the poll is over, and this thread did not let the core know
        reply = stream.next(timeout_s=0.0)
        stream.close()
        job.cancel()
    assert reply.body.state is JobState.RUNNING
