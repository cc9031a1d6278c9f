"""Settings and traces from the caller's side, and servers that lie about a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cim_machines import Adjustable, Annealer

from cim_hal import (
    CapabilityError,
    IsingModel,
    LocalTransport,
    ModelError,
    PumpSchedule,
    TraceRequest,
    open_device,
)
from cim_hal.errors import RemoteProtocolError

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]], [0.5, 0.0])
TRACE = TraceRequest(every=6, runs=2)


class Watched(LocalTransport):
    """Counts what passes, and may change a reply on its way."""

    def __init__(self, driver, change=None) -> None:
        super().__init__(driver)
        self.seen: list[str] = []
        self.change = change

    def exchange(self, request, *, timeout_s):
        self.seen.append(request.body.t)
        reply = super().exchange(request, timeout_s=timeout_s)
        if self.change is not None and reply.body.t == "job.frames":
            return self.change(reply)
        return reply


def test_a_trace_is_in_the_spins_of_the_model_and_in_the_order_of_the_job():
    with open_device(Adjustable()) as device:
        samples = device.sample(PAIR, n_runs=5, seed=1, gauge_seed=3, trace=TRACE)
        plain = device.sample(PAIR, n_runs=5, seed=1, gauge_seed=3)
    trace = samples.trace
    assert trace.round_trips.tolist() == [6, 12, 18, 20]
    schedule = device.capabilities.default_schedule.sample()
    np.testing.assert_array_equal(trace.pump, schedule[trace.round_trips - 1])
    assert trace.amplitudes.shape == (4, 2, 2)
    final = {tuple(row) for row in samples.amplitudes}
    assert {tuple(row) for row in trace.amplitudes[-1]} <= final
    np.testing.assert_array_equal(trace.energies(PAIR)[-1], PAIR.energy(trace.spins[-1]))
    assert plain.trace is None
    np.testing.assert_array_equal(plain.amplitudes, samples.amplitudes)


def test_settings_change_the_job_and_stand_in_its_record():
    settings = {"walk.width": np.float32(2.0), "flips": 1}
    with open_device(Adjustable()) as device:
        plain = device.sample(PAIR, n_runs=3, seed=1)
        turned = device.sample(PAIR, n_runs=3, seed=1, settings=settings)
    assert turned.record.settings == {"walk.width": 2.0, "flips": 1.0}
    assert plain.record.settings == {}
    np.testing.assert_allclose(
        np.sort(np.abs(turned.amplitudes), axis=None),
        np.sort(np.abs(plain.amplitudes), axis=None) * 2,
        rtol=1e-6,
    )


def test_what_happened_in_a_run_is_in_its_record():
    with open_device(Adjustable()) as device:
        record = device.sample(PAIR, seed=1).record
    assert record.notes == {"width_mm": 1.0, "relocks": 3, "door": "open"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trace": TRACE}, "reports_trace"),
        ({"settings": {"gain": 1.0}}, "the device has none"),
    ],
)
def test_what_a_machine_does_not_offer_is_refused_before_anything_is_sent(options, says):
    transport = Watched(Annealer())
    with open_device(transport) as device, pytest.raises(CapabilityError, match=says):
        device.sample(PAIR, **options)
    assert transport.seen == ["hello", "bye"]


def test_a_trace_that_is_too_large_is_refused_before_anything_is_sent():
    transport = Watched(Adjustable())
    long = PumpSchedule.constant(1.0, round_trips=100_000)
    with open_device(transport) as device, pytest.raises(CapabilityError, match="would fit"):
        device.sample(PAIR, long, n_runs=1000, trace=TraceRequest(every=1, runs=1000))
    assert transport.seen == ["hello", "bye"]


def test_a_setting_that_is_no_number_is_named_in_the_words_of_the_caller():
    with (
        open_device(Adjustable()) as device,
        pytest.raises(ModelError, match=r"settings\.flips = 'two'"),
    ):
        device.sample(PAIR, settings={"flips": "two"})


def _body(**changes):
    return lambda reply: replace(reply, body=reply.body.model_copy(update=changes))


def _buffers(change):
    return lambda reply: replace(reply, buffers=change(*reply.buffers))


@pytest.mark.parametrize(
    "change",
    [
        _body(n_spins=3),
        _body(n_frames=10**9),
        _body(n_frames=3),
        _buffers(lambda at, pump, x: (at, pump, x[:, :1])),
        _buffers(lambda at, pump, x: (at, pump, x.astype(np.float64))),
        _buffers(lambda at, pump, x: (at, pump[:1], x)),
        _buffers(lambda at, pump, x: (at[:0], pump[:0], x[:0])),
        _buffers(lambda at, pump, x: (at.reshape(()) if at.size == 1 else at[:, None], pump, x)),
    ],
)
def test_a_trace_that_does_not_hold_together_is_the_servers_mistake(change):
    with (
        open_device(Watched(Adjustable(), change)) as device,
        pytest.raises(RemoteProtocolError, match="trace"),
    ):
        device.sample(PAIR, n_runs=2, seed=0, trace=TRACE)
