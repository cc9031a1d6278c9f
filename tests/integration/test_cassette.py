"""Conversations recorded from real servers, played back and held against them."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from cim_machines import Annealer, Exhaustive

from cim_hal import IsingModel, open_device
from cim_hal.cassette import Recorder, ReplayServer, check, read_cassette
from cim_hal.cassette.file import _CODEC, CassetteEnd, CassetteHeader, RecordedMessage
from cim_hal.client.access import keys_for
from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.errors import CassetteError, UnknownReferenceError
from cim_hal.key_files import create_key, read_pair
from cim_hal.protocol.wire.codec import FILE_MAGIC, file_parts
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.server.security.authenticator import Authenticator, Client, authorize

RNG = np.random.default_rng(5)
UPPER = np.triu(RNG.integers(-9, 10, (12, 12)), 1)
MODEL = IsingModel.from_couplings(UPPER + UPPER.T)


def sample(endpoint: str, *, seed: int = 3, n_runs: int = 20):
    with open_device(endpoint) as session:
        session.describe()
        return session.sample(MODEL, n_runs=n_runs, seed=seed)


def checked(cassette, endpoint: str, **options):
    transport = ZmqTransport(endpoint, **options)
    try:
        return check(cassette, transport)
    finally:
        transport.close()


@pytest.fixture
def cassette(serving, tmp_path):
    """A session of one job with an `Annealer`, in a file, and its samples."""
    path = tmp_path / "session.cassette"
    with serving(Annealer()) as endpoint, Recorder(endpoint, path) as recorder:
        samples = sample(recorder.endpoint)
    return path, samples


def test_a_cassette_answers_as_the_machine_did(cassette):
    path, samples = cassette
    with ReplayServer(read_cassette(path)) as replay:
        again = sample(replay.endpoint)
        once_more = sample(replay.endpoint)
    for each in (again, once_more):
        np.testing.assert_array_equal(each.spins, samples.spins)
        np.testing.assert_array_equal(each.amplitudes, samples.amplitudes)
        assert each.record == samples.record


def test_what_is_not_on_the_cassette_is_an_error_that_says_what_is_nearest(cassette):
    with (
        ReplayServer(read_cassette(cassette[0])) as replay,
        pytest.raises(
            UnknownReferenceError, match=r"no such sample request .*seed is 4, on the cassette 3"
        ),
    ):
        sample(replay.endpoint, seed=4)


def test_a_server_that_has_not_changed_passes_the_check(cassette, serving):
    path, _ = cassette
    with serving(Annealer()) as endpoint:
        first, second = (checked(read_cassette(path), endpoint) for _ in range(2))
    assert not first.differences
    assert not second.differences
    assert first.compared >= 6
    assert not first.skipped
    assert second.skipped  # the couplings are there: their chunks need not be sent


class Stubborn(Annealer):
    """An annealer that has become another machine."""

    def run(self, program, stop):
        readout = super().run(program, stop)
        readout.values[0] = -readout.values[0]
        return readout


def test_a_machine_that_answers_otherwise_fails_the_check_with_the_place(cassette, serving):
    with serving(Stubborn()) as endpoint:
        outcome = checked(read_cassette(cassette[0]), endpoint)
    assert {each.request for each in outcome.differences} == {"job.result"}
    spins, amplitudes = outcome.differences
    assert spins.path == "buffers.0"
    assert amplitudes.path == "buffers.1"
    assert amplitudes.live == "12 of them differ"


def test_another_machine_fails_the_check(cassette, serving):
    with serving(Exhaustive()) as endpoint:
        outcome = checked(read_cassette(cassette[0]), endpoint)
    assert outcome.differences[0].request == "hello"
    assert "capabilities.name" in {each.path for each in outcome.differences}


def test_a_server_with_keys_is_recorded_with_the_keys_of_the_recorder(serving, tmp_path):
    folder, path = tmp_path, tmp_path / "keyed.cassette"
    for name in ("server", "alice"):
        create_key(name, folder)
    alice = read_pair(folder / "alice.key")
    authorize(
        folder / "authorized.toml",
        Client.model_validate({"name": "alice", "key": alice.public, "role": "user"}),
    )
    authenticator = Authenticator(read_pair(folder / "server.key"), folder / "authorized.toml")
    with serving(Annealer(), authenticator=authenticator) as endpoint:
        keys = keys_for(endpoint, folder / "alice.key", folder / "server.pub")
        with Recorder(endpoint, path, keys=keys) as recorder:
            samples = sample(recorder.endpoint)
        assert checked(read_cassette(path), endpoint, keys=keys).holds
    with ReplayServer(read_cassette(path)) as replay:
        np.testing.assert_array_equal(sample(replay.endpoint).spins, samples.spins)


# ---- files ----------------------------------------------------------------------------------


def test_a_recording_never_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "there"
    path.write_bytes(b"precious")
    with pytest.raises(CassetteError, match="exists already"), Recorder("tcp://127.0.0.1:1", path):
        pass
    assert path.read_bytes() == b"precious"


def test_a_cassette_that_was_cut_short_is_read_up_to_there(cassette, tmp_path):
    whole = read_cassette(cassette[0])
    cut = tmp_path / "cut"
    cut.write_bytes(cassette[0].read_bytes()[:-200])
    part = read_cassette(cut)
    assert whole.is_complete
    assert not whole.unanswered
    assert not part.is_complete
    assert 0 < len(part.exchanges) < len(whole.exchanges)


def stored(*records: tuple[object, list[bytes]], damage: bytes = b"") -> bytes:
    """Return the bytes of a cassette with these records."""
    parts = [FILE_MAGIC]
    for body, frames in records:
        buffers = tuple(np.frombuffer(frame, np.uint8) for frame in frames)
        parts += file_parts(_CODEC.encode(Packet(Kind.RECORD, NO_ID, body, buffers=buffers)))
    return b"".join(parts) + damage


HEADER = CassetteHeader(version=1, target="", recorded_at="")
LATER = HEADER.model_copy(update={"version": 2})
MESSAGE = RecordedMessage(seconds=0.5, direction=0, client=0)
SIDEWAYS = MESSAGE.model_copy(update={"direction": 7})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no cassette of version 1"),
        (b"\x00\xff\x17garbage", "no cassette of version 1"),
        (stored((LATER, [])), "version 1"),
        (stored((MESSAGE, [b"CIM", b"x"])), "version 1"),
        (stored((HEADER, []))[:-1] + b"\x00", "version 1"),  # the checksum
        (stored((HEADER, []), damage=b"\xff" * 100), "message 1 is malformed: .* promises"),
        (stored((HEADER, []), (MESSAGE, [b"CIM", b"x"])), "message 1 is malformed"),
        (stored((HEADER, []), (SIDEWAYS, [b"", b""])), "message 1 is malformed"),
        (stored((HEADER, []), (CassetteEnd(), []), (CassetteEnd(), [])), "message 2 is malformed"),
    ],
)
def test_what_is_no_cassette_is_refused_with_the_place(tmp_path, content, sentence):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(CassetteError, match=sentence):
        read_cassette(path)


def test_a_cassette_of_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CassetteError, match="No such file"):
        read_cassette(tmp_path / "none")


# ---- commands -------------------------------------------------------------------------------


def ready(process) -> str:
    line = process.stdout.readline()
    assert line.startswith("ready: "), line + process.stderr.read()
    return line.split(" at ")[1].strip()


def test_record_replay_and_check_from_the_shell(serving, cim_hal, run, tmp_path):
    path = tmp_path / "shell.cassette"
    with serving(Annealer()) as endpoint:
        recorder = cim_hal("record", endpoint, str(path))
        samples = sample(ready(recorder))
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(10) == 0
        assert f"messages in {path}" in recorder.stderr.read()
        status, out, _ = run("check", str(path), endpoint, "--json")
        assert status == 0
        assert json.loads(out)["holds"] is True
    replay = cim_hal("replay", str(path))
    np.testing.assert_array_equal(sample(ready(replay)).spins, samples.spins)
    replay.send_signal(signal.SIGTERM)
    assert replay.wait(10) == 0


def test_a_check_that_fails_ends_with_1_and_shows_a_table(cassette, serving, run):
    with serving(Stubborn()) as endpoint:
        status, out, _ = run("check", str(cassette[0]), endpoint)
        assert status == 1
        assert "job.result" in out
