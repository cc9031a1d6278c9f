"""Sides of different minor versions understand each other."""

from __future__ import annotations

import msgpack
import pytest
from cim_machines import Adjustable, Annealer
from cim_wire import REF, sample_request
from example_messages import example_packets

from cim_hal import Capabilities, LoweringReport, RunRecord
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.evolution import ADDED, as_of, written
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    Description,
    Ping,
    ResultBatch,
    Sample,
    TraceSpec,
    Welcome,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST

# What version 1.0 knew; it refuses everything else.
CAPABILITIES_1_0 = {
    "name", "description", "max_spins", "coupling_bits", "field_bits", "has_field",
    "max_round_trips", "max_runs", "pump_range", "round_trip_s", "reports_amplitudes",
    "reproducible", "default_pump", "default_round_trips",
}  # fmt: skip
RECORD_1_0 = {"device", "job", "coupling", "seed", "round_trips", "device_s", "lowering"}
SAMPLE_1_0 = {"t", "key", "coupling", "schedule", "n_runs", "seed"}

REPORT = LoweringReport(
    bits=8, step=1.0, levels_used=3, max_error=0.0, rms_error=0.0, energy_error_bound=0.0,
    field_spin=False, gauge=False, machine_spins=2,
)  # fmt: skip
RECORD = RunRecord(
    device="x", job="0" * 32, coupling=REF.digest, seed=1, round_trips=5, device_s=0.1,
    lowering=REPORT, pump=(0.0, 1.5), settings={"gain": 0.5}, notes={"relocks": 1},
    calibration="sha256:" + "0" * 64,
)  # fmt: skip


def _body(message) -> dict:
    kind = Kind.REQUEST if isinstance(message, Sample | Ping) else Kind.REPLY
    return msgpack.unpackb(encode(Packet(kind, bytes(16), message))[1])["p"]


def _welcome(capabilities: Capabilities, *, limits: Limits | None = None) -> Welcome:
    token = "0" * 32
    return Welcome(
        protocol=OLDEST,
        server="",
        instance=token,
        session=token,
        limits=limits or Limits(),
        capabilities=capabilities,
    )


@pytest.mark.parametrize("machine", [Annealer(), Adjustable()])
def test_an_older_side_is_sent_the_capabilities_it_knows(machine):
    capabilities = as_of(machine.describe(), (1, 0))
    description = Description(capabilities=capabilities, queued=0, busy=False)
    for message in (_welcome(capabilities), description):
        assert set(_body(message)["capabilities"]) == CAPABILITIES_1_0


def test_an_older_side_is_sent_the_record_it_knows():
    batch = ResultBatch(job="0" * 32, n_spins=2, n_runs=1, first=0, record=as_of(RECORD, (1, 0)))
    assert set(written(batch)["record"]) == RECORD_1_0


def test_a_job_without_news_goes_as_it_always_did():
    assert set(_body(sample_request())) == SAMPLE_1_0


def test_news_goes_and_comes_back():
    request = sample_request(settings={"gain": 2.0}, trace=TraceSpec(every=3, runs=2))
    assert set(_body(request)) == SAMPLE_1_0 | {"settings", "trace"}
    assert decode(encode(Packet(Kind.REQUEST, bytes(16), request))).body == request
    welcome = _welcome(Adjustable().describe())
    assert decode(encode(Packet(Kind.REPLY, bytes(16), welcome))).body == welcome


def test_a_side_of_the_newest_version_is_sent_all():
    assert as_of(RECORD, NEWEST) == RECORD
    assert as_of(Adjustable().describe(), NEWEST) == Adjustable().describe()


def test_the_largest_capabilities_fit_a_header():
    facts = {f"{i:03d}" + "é" * 30: "ü" * 40 for i in range(256)}
    capabilities = Capabilities(name="x", max_spins=4, coupling_bits=8, properties=facts)
    welcome = _welcome(capabilities)
    assert decode(encode(Packet(Kind.REPLY, bytes(16), welcome))).body == welcome


@pytest.mark.parametrize("part", ADDED)
def test_what_was_added_has_a_default(part):
    for name, version in ADDED[part].items():
        assert not part.model_fields[name].is_required()
        assert OLDEST < version <= NEWEST


def test_limits_that_an_older_side_does_not_know_are_left_out_for_it():
    limits = Limits(queue_length=3, slice_s=0.5)
    old = _welcome(Annealer().describe(), limits=as_of(limits, (1, 1)))
    assert not set(_body(old)["limits"]) & set(ADDED[Limits])
    new = _welcome(Annealer().describe(), limits=as_of(limits, NEWEST))
    assert decode(encode(Packet(Kind.REPLY, bytes(16), new))).body == new
    assert _body(new)["limits"]["slice_s"] == 0.5


def test_every_message_is_written_field_by_field_as_if_none_were_left_as_ever():
    for packet in example_packets():
        body, fields = packet.body, packet.body.model_dump()
        for name, value in body:
            if type(value) in ADDED:
                fields[name] = written(value)
        for name in ADDED.get(type(body), ()):
            if getattr(body, name) == type(body).model_fields[name].get_default():
                del fields[name]
        assert written(body) == fields
