"""Sessions recorded from real servers, played back and held against them."""

from __future__ import annotations

import json
import signal

import numpy as np
from cassettes import checked, sample
from cim_machines import Annealer

from cim_hal.cassette import Recorder, ReplayServer, read_cassette
from cim_hal.key_files import create_key, keys_for, read_pair
from cim_hal.server.security.authenticator import Authenticator, Client, authorize


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


def test_a_cassette_that_was_cut_short_is_read_up_to_there(cassette, tmp_path):
    whole = read_cassette(cassette[0])
    cut = tmp_path / "cut"
    cut.write_bytes(cassette[0].read_bytes()[:-200])
    part = read_cassette(cut)
    assert whole.is_complete
    assert not whole.unanswered
    assert not part.is_complete
    assert 0 < len(part.exchanges) < len(whole.exchanges)


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
