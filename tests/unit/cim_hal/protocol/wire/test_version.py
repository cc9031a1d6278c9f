from __future__ import annotations

import msgpack
import pytest
from cim_wire import SteppedCore, runs
from example_messages import example_packets

from cim_hal import Capabilities
from cim_hal.errors import VersionError
from cim_hal.protocol import core
from cim_hal.protocol.wire import version
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    Hello,
    JobInfo,
    JobList,
    JobStatus,
    ListJobs,
    Progress,
    WaitJob,
    Welcome,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import agree, as_of, written


def test_the_newest_common_version_is_taken():
    assert agree(((1, 0), (1, 7)), ours=((1, 2), (1, 4))) == (1, 4)
    assert agree(((1, 3), (1, 3)), ours=((1, 0), (1, 9))) == (1, 3)


@pytest.mark.parametrize("theirs", [((2, 0), (2, 1)), ((0, 1), (0, 9))])
def test_ranges_apart_are_refused_with_both_in_the_sentence(theirs):
    with pytest.raises(VersionError, match=r"1\.0 to 1\.4") as caught:
        agree(theirs, ours=((1, 0), (1, 4)))
    assert caught.value.details["client"].startswith(str(theirs[0][0]))


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(VersionError):
        agree(((1, 9), (1, 0)))


# ---- an invented version 1.1 ----------------------------------------------------------------


@pytest.fixture
def added(monkeypatch) -> None:
    """Let this side speak 1.1, which is said to have added some of the fields there are."""
    fields = {
        JobStatus: {"seq": (1, 1), "ready": (1, 1)},
        Limits: {"slice_s": (1, 1)},
    }
    monkeypatch.setattr(version, "ADDED", fields)
    monkeypatch.setattr(core, "ADDED", fields)
    monkeypatch.setattr(version, "NEWEST", (1, 1))


def _body(message) -> dict:
    return msgpack.unpackb(encode(Packet(Kind.REPLY, bytes(16), message))[1])["p"]


def _status(bench: SteppedCore, session: str) -> JobStatus:
    (run,) = runs(bench.sample(session))
    bench.core.progress(run.job, Progress(done=1, total=2, unit="runs"), 1.0)
    return bench.ask(WaitJob(job=run.job), session)


@pytest.mark.usefixtures("added")
def test_a_session_of_an_older_version_is_sent_later_fields_at_their_defaults():
    bench = SteppedCore(slice_s=0.5)
    welcome = bench.ask(Hello(protocols=((1, 0), (1, 0))))
    assert (welcome.protocol, welcome.limits.slice_s) == ((1, 0), 2.0)
    bench.load(welcome.session)
    told = _status(bench, welcome.session)
    assert (told.seq, told.progress.unit) == (0, "runs")
    assert not {"seq", "ready"} & set(_body(told))
    assert "slice_s" not in _body(welcome)["limits"]


@pytest.mark.usefixtures("added")
def test_a_session_of_the_newest_version_is_sent_all():
    bench = SteppedCore(slice_s=0.5)
    welcome = bench.ask(Hello(protocols=((1, 0), (1, 7))))
    assert (welcome.protocol, welcome.limits.slice_s) == ((1, 1), 0.5)
    bench.load(welcome.session)
    told = _status(bench, welcome.session)
    assert told.seq > 0
    assert _body(told)["seq"] == told.seq
    assert decode(encode(Packet(Kind.REPLY, bytes(16), welcome))).body == welcome


def test_later_fields_in_parts_of_parts_are_reset_and_left_out(monkeypatch):
    monkeypatch.setattr(version, "ADDED", {JobInfo: {"progress": (1, 1)}})
    bench = SteppedCore()
    bench.load(session := bench.hello())
    _status(bench, session)
    listed = bench.ask(ListJobs(), session)
    old = as_of(listed, (1, 0))
    assert isinstance(old, JobList)
    assert (listed.jobs[0].progress is None, old.jobs[0].progress) == (False, None)
    assert as_of(listed, (1, 1)) == listed
    assert ("progress" in written(listed)["jobs"][0], "progress" in written(old)["jobs"][0]) == (
        True,
        False,
    )


def test_without_later_versions_everything_is_written():
    for packet in example_packets():
        assert written(packet.body) == packet.body.model_dump()
        assert as_of(packet.body, (1, 0)) is packet.body


def test_the_largest_capabilities_fit_a_header():
    facts = {f"{i:03d}" + "é" * 30: "ü" * 40 for i in range(256)}
    capabilities = Capabilities(name="x", max_spins=4, coupling_bits=8, properties=facts)
    token = "0" * 32
    welcome = Welcome(
        protocol=(1, 0),
        server="",
        instance=token,
        session=token,
        limits=Limits(),
        capabilities=capabilities,
    )
    assert decode(encode(Packet(Kind.REPLY, bytes(16), welcome))).body == welcome
