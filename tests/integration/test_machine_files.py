"""What a machine file says reaches the machine over every transport, and `--option` a driver."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from quick_estimators import classifier

from cim_hal import (
    AsyncDevicePool,
    CapabilityError,
    DevicePool,
    IsingModel,
    MachineConfig,
    TargetError,
    console,
    open_device,
    open_device_async,
    spawn_server,
)
from qnn_train.cli.app import program as qnn_train

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIR = IsingModel.from_couplings([[0, -1.0], [-1.0, 0]])
FILE = """
driver = "configured_machines:Configured"
name = "bench-left"
[options]
host = "10.0.0.5"
timeout_s = 3
log = {log}
[settings]
gain = 0.25
field_weight = 0.75
[limits]
queue_length = 3
"""
TOLD = {"host": "10.0.0.5", "port": 5025, "timeout_s": 3.0, "dry": False, "mode": "slow"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a machine file, a model, and a log of the settings that each run was given."""
    place = tmp_path_factory.mktemp("bench")
    (place / "bench.toml").write_text(FILE.format(log=json.dumps(str(place / "log"))))
    (place / "model.txt").write_text("2 1\n1 2 1\n")
    return place


@pytest.fixture(scope="module")
def endpoint(place) -> Iterator[str]:
    """The machine of the file, in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))
        with spawn_server(place / "bench.toml") as server:
            yield server.endpoint


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "log").unlink(missing_ok=True)


@pytest.fixture
def asked(place):
    """The settings of each run since the last call."""
    log = place / "log"

    def asked() -> list[dict[str, float]]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return asked


def gentle(endpoint: str, settings: str = "gain = 0.125") -> str:
    """Write a machine file of a server."""
    text = f'driver = "{endpoint}"\n[settings]\n{settings}\n'
    Path("gentle.toml").write_text(text, encoding="utf-8")
    return "gentle.toml"


def test_in_this_process_and_behind_a_server_it_is_the_same_machine(endpoint):
    for target in ("bench.toml", endpoint):
        with open_device(target) as session:
            record = session.sample(PAIR, seed=1).record
            chosen = session.sample(PAIR, seed=1, settings={"gain": 1.5}).record
            known = session.describe().capabilities
        assert record.device == known.name == "bench-left"
        assert record.settings == {"gain": 0.25, "field_weight": 0.75}
        assert record.notes == TOLD | {"asked.gain": 0.25, "asked.field_weight": 0.75}
        assert chosen.settings == {"gain": 1.5, "field_weight": 0.75}
        assert chosen.notes["asked.gain"] == 1.5
        assert {o.name: o.value for o in known.options if o.name != "log"} == TOLD


def test_the_file_of_a_server_has_defaults_for_my_jobs(endpoint):
    with open_device(gentle(endpoint)) as session:
        notes = session.sample(PAIR).record.notes
        defaults = {s.name: s.default for s in session.describe().capabilities.settings}
        assert session.capabilities == session.describe().capabilities
    with open_device(endpoint) as session:
        assert session.sample(PAIR).record.notes["asked.gain"] == 0.25
    assert (notes["asked.gain"], notes["asked.field_weight"]) == (0.125, 0.75)
    assert defaults == {"gain": 0.125, "adc.bits": 8, "field_weight": 0.75}


def test_the_file_of_a_server_is_checked_by_what_the_server_has(endpoint):
    with pytest.raises(CapabilityError, match=r"gian.*did you mean gain"):
        open_device(gentle(endpoint, "gian = 1"))
    with pytest.raises(CapabilityError, match=r"settings.gain: .* 0 to 2"):
        open_device(gentle(endpoint, "gain = 3"))


def test_members_of_a_pool_and_sessions_of_a_loop_have_it(endpoint):
    targets = [endpoint, gentle(endpoint), "bench.toml"]
    with DevicePool(targets) as pool:
        assert list(pool.machines)[2] == "2: bench.toml"
        samples = list(pool.map([PAIR] * 9))
    assert {s.record.notes["asked.field_weight"] for s in samples} == {0.75}
    assert {s.record.notes["asked.gain"] for s in samples} <= {0.25, 0.125}

    async def main():
        async with open_device_async("bench.toml") as device, AsyncDevicePool([targets[1]]) as pool:
            return await device.sample(PAIR), await pool.sample(PAIR)

    here, there = asyncio.run(main())
    assert (here.record.notes["asked.gain"], there.record.notes["asked.gain"]) == (0.25, 0.125)


@pytest.mark.slow
def test_copies_of_a_machine_in_processes_have_it():
    with DevicePool.local("bench.toml", machines=2, options={"port": 7, "dry": True}) as pool:
        records = [samples.record for samples in pool.map([PAIR] * 4)]
    assert {(r.notes["port"], r.notes["dry"], r.notes["asked.gain"]) for r in records} == {
        (7, True, 0.25)
    }


def test_a_machine_without_a_file_may_stand_wherever_a_file_may():
    machine = MachineConfig(
        driver="configured_machines:Configured",
        options={"host": "10.0.0.6", "timeout_s": 3},
        settings={"gain": 1.25},
        limits={"lease_s": 7.0},
    )
    with spawn_server(machine, options={"dry": True}) as server, DevicePool([machine]) as pool:
        with open_device(server.endpoint) as session:
            record = session.sample(PAIR).record
            assert session._client.welcome.limits.lease_s == 7.0
        assert pool.sample(PAIR).record.notes["asked.gain"] == 1.25
    told = TOLD | {"host": "10.0.0.6", "dry": True, "asked.gain": 1.25}
    assert (record.notes, record.settings) == (told, {"gain": 1.25})


def test_commands_take_it_and_options_in_a_line(run, asked):
    sample = ("sample", "bench.toml", "--model", "model.txt", "--runs", "2", "--json")
    assert run(*sample)[0] == 0
    assert run(*sample, "--setting", "gain=2")[0] == 0
    assert [each["gain"] for each in asked()] == [0.25, 2.0]
    status, out, _ = run("describe", "bench.toml", "--option", "port=7", "--json")
    described = json.loads(out)
    assert status == 0
    assert {o["name"]: o["value"] for o in described["options"]}["port"] == 7
    assert {s["name"]: s["default"] for s in described["settings"]}["gain"] == 0.25
    status, out, _ = run("describe", "bench.toml")
    row = next(line for line in out.splitlines() if "timeout_s" in line)
    assert [word in row for word in ("option", "3", "2", "a number from 0.1 to 60")] == [True] * 4
    row = next(line for line in out.splitlines() if "│ gain" in line)
    assert [word in row for word in ("setting", "0.25", "1/m", "Of the loop.")] == [True] * 4
    search = ("tune", "bench.toml", "--model", "model.txt", "--trials", "1", "--work", "20")
    assert run(*search)[0] == 0
    assert asked()[0]["gain"] == 0.25
    status, out, _ = run("conform", "bench.toml", "--only", "smallest-program")
    assert (status, out.split()[:3]) == (0, ["smallest-program", "basic", "passed"])
    assert asked()[0]["gain"] == 0.25


def test_a_served_file_reaches_commands_and_takes_options(run):
    command = ["serve", "bench.toml", "--option", "port=7", "--bind", "tcp://127.0.0.1:0"]
    full = [sys.executable, "-m", "cim_hal.cli", *command, "--until-stdin-closes"]
    with subprocess.Popen(full, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = server.stdout.readline()
            assert ready.startswith("ready: bench.toml at tcp://")
            endpoint = ready.split()[-1]
            out = run("describe", endpoint, "--json")[1]
            assert {o["name"]: o["value"] for o in json.loads(out)["options"]}["port"] == 7
            out = run("sample", gentle(endpoint), "--model", "model.txt", "--json")[1]
            assert json.loads(out)["device"] == "bench-left"
            assert run("status", "gentle.toml", "--json")[0] == 0
            status, _, err = run("describe", endpoint, "--option", "port=8")
            assert (status, "takes no options" in err, "--setting" in err) == (2, True, True)
            assert run("serve", "gentle.toml")[0] == 2
        finally:
            server.stdin.close()


def test_limits_of_the_file_are_those_of_the_server(endpoint):
    with open_device(endpoint) as session:
        assert session._client.welcome.limits.queue_length == 3


QUICK = ["proximal", "--recipe", "tiny-2x2", "--sweeps", "1", "--runs", "2", "--quiet"]


def train(*more: str) -> int:
    return console.run(qnn_train, [*QUICK, "--round-trips", "2", "--out", "there", *more])


def test_a_training_has_it_in_spite_of_its_recipe(endpoint, asked):
    assert train("--device", "bench.toml", "--option", "port=7") == 0
    found = asked()
    assert {(each["gain"], each["field_weight"]) for each in found} == {(0.25, 0.75)}
    assert train("--device", gentle(endpoint)) == 0  # of the recipe is a field weight of 1
    found = asked()
    assert {(each["gain"], each["field_weight"]) for each in found} == {(0.125, 0.75)}


def test_a_training_with_a_server_takes_no_options(endpoint, capsys):
    assert train("--device", gentle(endpoint), "--option", "port=7") == 2
    assert "takes no options" in capsys.readouterr().err


def test_a_training_goes_on_with_the_settings_that_it_had(endpoint, capsys):
    assert train("--device", gentle(endpoint), "--checkpoint", "c.npz") == 0
    on = ["proximal", "--resume", "c.npz", "--quiet", "--out", "there", "--device"]
    assert console.run(qnn_train, [*on, gentle(endpoint, "gain = 0.5")]) == 2
    assert "of other settings: gain=0.125, field_weight=0.75, not" in capsys.readouterr().err
    assert console.run(qnn_train, [*on, gentle(endpoint)]) == 0


def test_an_estimator_has_it(endpoint, asked):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 3))
    for device, gain in (("bench.toml", 0.25), (gentle(endpoint), 0.125)):
        classifier(device=device, sweeps=1).fit(X, X[:, 0] > 0)
        found = asked()
        assert {(each["gain"], each["field_weight"]) for each in found} == {(gain, 0.75)}


def test_a_server_of_a_wrong_file_says_what_is_wrong(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(Path("bench.toml").read_text() + "queue = 3\n")
    with pytest.raises(TargetError, match=r"did not start.*\[limits\]: there is no key 'queue'"):
        spawn_server(path)
    with pytest.raises(TargetError, match=r"did not start.*port.*whole number from 1 to 65535"):
        spawn_server("configured_machines:Configured", options={"host": "a", "port": 0})
