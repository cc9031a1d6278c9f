"""The command in this process; in a process of its own for signals and streams."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import chdir

import numpy as np
import pytest
from cim_machines import Adjustable, Annealer, Patient

from cim_hal import open_device

ADJUSTABLE = "cim_machines:Adjustable"
GRAPH = "4 4\n1 2 1\n2 3 1\n3 4 1\n4 1 1\n"  # a ring: all four edges are cut


@pytest.fixture
def graph(tmp_path):
    path = tmp_path / "ring.txt"
    path.write_text(GRAPH)
    return str(path)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_serve_says_where_it_listens_and_stops_on_a_signal(cim_hal, number):
    process = cim_hal("serve", "cim_machines:Patient")
    line = process.stdout.readline()
    assert line.startswith("ready: cim_machines:Patient at tcp://127.0.0.1:")
    with open_device(line.split()[-1]) as device:
        assert device.capabilities.name == "patient"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_list_names_the_installed_drivers(run):
    status, out, _ = run("list", "--json")
    assert status == 0
    assert "emulator" in {driver["name"] for driver in json.loads(out)}
    assert "emulator" in run("list")[1]


def test_describe_shows_the_capabilities(run):
    status, out, _ = run("describe", "cim_machines:Annealer", "--json")
    fields = json.loads(out)
    assert status == 0
    assert (fields["name"], fields["max_spins"], fields["busy"]) == ("annealer", 3000, False)
    assert "coupling_bits" in run("describe", "cim_machines:Annealer")[1]


def test_sample_reports_as_json_and_writes_an_archive(run, graph, tmp_path):
    out_path = tmp_path / "samples.npz"
    status, out, err = run(
        "sample", "cim_machines:Annealer", "--model", graph, "--runs", "5", "--seed", "3",
        "--round-trips", "9", "--bits", "4", "--out", str(out_path), "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert (summary["best_energy"], summary["best_cut"], summary["n_spins"]) == (-4.0, 4.0, 4)
    exact = {"bits": 4, "scale": 1.0, "max_error": 0.0, "couplings_lost": 0}
    assert summary["quantization"] == exact
    assert summary["seconds"] >= summary["device_seconds"] > 0
    with np.load(out_path) as archive:
        assert archive["spins"].shape == archive["amplitudes"].shape == (5, 4)
        assert archive["energies"].tolist() == summary["energies"]
        assert archive["seed"] == 3
        assert json.loads(str(archive["record"]))["round_trips"] == 9
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_describe_shows_properties_and_the_settings_of_a_job(run):
    fields = json.loads(run("describe", "cim_machines:Adjustable", "--json")[1])
    assert fields["properties"]["lasers"] == 2
    assert [each["name"] for each in fields["settings"]] == ["walk.width", "flips"]
    assert fields["reports_trace"] is True
    _, out, _ = run("describe", "cim_machines:Adjustable")
    for text in ("length_m", "walk.width", "│ mm ", "0.1 to 10, log", "whole numbers 0 to 3"):
        assert text in out


def test_sample_changes_settings_and_keeps_a_trace(run, graph, tmp_path):
    found, out_path = tmp_path / "found.toml", tmp_path / "samples.npz"
    found.write_text("[schedule]\npump = [0, 3]\n[settings]\nflips = 1\nwalk.width = 9\n")
    status, out, err = run(
        "sample", "cim_machines:Adjustable", "--model", graph, "--runs", "7", "--seed", "1",
        "--settings", str(found), "--setting", "walk.width=0.5", "--pump", "1,2",
        "--round-trips", "11", "--trace", "4", "--trace-runs", "3", "--out", str(out_path),
        "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert summary["settings"] == {"flips": 1.0, "walk.width": 0.5}
    assert summary["notes"] == {"width_mm": 0.5, "relocks": 3, "door": "open"}
    assert summary["trace"]["round_trips"] == [4, 8, 11]
    assert summary["trace"]["pump"] == pytest.approx([1.3, 1.7, 2.0])
    assert np.shape(summary["trace"]["energies"]) == (3, 3)
    with np.load(out_path) as archive:
        assert archive["trace_amplitudes"].shape == (3, 3, 4)
        assert archive["trace_round_trips"].tolist() == [4, 8, 11]
        assert archive["trace_pump"].shape == (3,)
        assert json.loads(str(archive["record"]))["settings"] == summary["settings"]


@pytest.mark.parametrize("machine", ["Adjustable", "Exhaustive"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_sample_draws_what_the_machine_can_show(run, graph, tmp_path, machine, suffix):
    path = tmp_path / f"runs.{suffix}"
    arguments = ["--model", graph, "--runs", "20", "--seed", "1", "--plot", path.name]
    with chdir(tmp_path):  # a long name would be cut in the table
        status, out, err = run("sample", f"cim_machines:{machine}", *arguments)
    assert (status, err) == (0, "")
    assert path.name in out.replace("\n", "")
    assert path.read_bytes()[:5] in {b"\x89PNG\r", b"<?xml"}
    assert [other.name for other in tmp_path.iterdir() if other.name.startswith(".")] == []


def test_sample_passes_its_priority_on(serving, run, graph):
    keep = ["--model", graph, "--json"]
    with serving(Annealer()) as endpoint:
        assert run("sample", endpoint, *keep, "--priority", "9")[0] == 0
        status, _, err = run("sample", endpoint, *keep, "--priority", "10")
    assert status == 2
    assert "--priority" in err


def test_sample_for_a_time_says_when_the_best_was_found(run, graph):
    arguments = ["--model", graph, "--seconds", "1", "--seed", "3"]
    status, out, err = run("sample", "cim_machines:Adjustable", *arguments, "--json")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    search = summary["search"]
    assert summary["n_runs"] == 64 * search["jobs"]
    assert 1 <= search["best_job"] <= search["jobs"]
    assert summary["seed"] == 3 + search["best_job"] - 1
    assert 0 < search["best_after_s"] < summary["seconds"]
    assert summary["runs_at_best"] > 0
    assert not search["interrupted"]


def test_an_interrupt_of_a_search_keeps_what_it_found(serving, cim_hal, graph):
    with serving(Adjustable()) as endpoint, open_device(endpoint) as device:
        client = cim_hal("sample", endpoint, "--model", graph, "--seconds", "60", "--json")
        while not device.describe().busy and client.poll() is None:
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(timeout=1.0)
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(timeout=20)
    assert (client.returncode, err) == (0, "")
    assert json.loads(out)["search"]["interrupted"] is True


def test_sample_of_a_spin_glass_has_no_cut(run, tmp_path):
    path = tmp_path / "glass.npz"
    np.savez(path, J=[[0, 0.3], [0.3, 0]], h=[0.1, 0.0])
    status, out, _ = run("sample", "cim_machines:Exhaustive", "--model", str(path), "--json")
    summary = json.loads(out)
    assert status == 0
    assert summary["best_energy"] == pytest.approx(-0.4)
    assert "best_cut" not in summary
    assert summary["quantization"]["bits"] is None


def test_sample_shows_a_table_and_works_over_the_network(serving, run, graph):
    with serving(Annealer()) as endpoint:
        status, out, err = run("sample", endpoint, "--model", graph, "--runs", "3")
    assert (status, err) == (0, "")
    assert "annealer" in out
    assert "best_cut" in out


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 2, "Missing command"),
        (["fly"], 2, "No such command"),
        (["sample", "emulator"], 2, "--model"),
        (["sample", "emulator", "--model", "GRAPH", "--runs", "0"], 2, "--runs"),
        (["sample", "emulator", "--model", "GRAPH", "--out", "/no/such/x.npz"], 2, "not a folder"),
        (["sample", "nobody", "--model", "GRAPH"], 2, "known: emulator"),
        (["sample", "emulator", "--model", "no such file"], 2, "no such file"),
        (["sample", "cim_machines:Annealer", "--model", "GRAPH", "--bits", "9"], 2, "2 to 8"),
        (["sample", "cim_machines:Faulty", "--model", "GRAPH", "--seed", "2"], 1, "not finite"),
        (
            ["sample", ADJUSTABLE, "--model", "GRAPH", "--setting", "x=1"],
            2,
            "has walk.width, flips",
        ),
        (["sample", ADJUSTABLE, "--model", "GRAPH", "--setting", "flips=9"], 2, "0 to 3"),
        (["sample", ADJUSTABLE, "--model", "GRAPH", "--setting", "flips"], 2, "NAME=NUMBER"),
        (
            ["sample", ADJUSTABLE, "--model", "GRAPH", "--settings", "none.toml"],
            2,
            "does not exist",
        ),
        (["sample", ADJUSTABLE, "--model", "GRAPH", "--pump", "0;1"], 2, "--pump"),
        (["sample", ADJUSTABLE, "--model", "GRAPH", "--plot", "x.gif"], 2, ".png or .svg or .pdf"),
        (["sample", ADJUSTABLE, "--model", "GRAPH", "--plot", "/no/such/x.png"], 2, "not a folder"),
        (["sample", "cim_machines:Annealer", "--model", "GRAPH", "--trace", "1"], 2, "trace"),
        (["serve", "nobody"], 2, "known: emulator"),
        (["serve", "cim_machines:Annealer", "--bind", "tcp://0.0.0.0:0"], 2, "--insecure"),
        (["serve", "cim_machines:Annealer", "--bind", "here"], 2, "tcp://host:port"),
        (["describe", "tcp://127.0.0.1"], 2, "tcp://host:port"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_status(run, graph, arguments, status, sentence):
    arguments = [graph if argument == "GRAPH" else argument for argument in arguments]
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert sentence in err


def test_a_busy_port_is_one_line(serving, run):
    with serving(Annealer()) as endpoint:
        command = ("serve", "cim_machines:Annealer", "--no-journal", "--bind", endpoint)
        status, out, err = run(*command)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "cannot listen" in err


def test_an_interrupt_cancels_the_job_on_the_server_and_exits_130(serving, cim_hal, graph):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        client = cim_hal("sample", endpoint, "--model", graph, "--round-trips", "60000")
        while not device.describe().busy and client.poll() is None:
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(timeout=20)
        assert (client.returncode, out, err.split()) == (130, "", ["error:", "interrupted"])
        while device.describe().busy:
            time.sleep(0.01)


def test_an_interrupt_of_a_machine_in_this_process_exits_130(cim_hal, graph, tmp_path, monkeypatch):
    out_path, herald = tmp_path / "never.npz", tmp_path / "it runs"
    monkeypatch.setenv("CIM_HERALD", str(herald))
    client = cim_hal(
        "sample", "cim_machines:Heralding", "--model", graph, "--round-trips", "60000",
        "--out", str(out_path),
    )  # fmt: skip
    while not herald.exists() and client.poll() is None:
        time.sleep(0.01)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=20)
    assert (client.returncode, err.split()) == (130, ["error:", "interrupted"])
    assert not out_path.exists()


def test_list_says_what_emulated_machines_can_do_and_cuts_nothing(run):
    drivers = {driver["name"]: driver for driver in json.loads(run("list", "--json")[1])}
    assert drivers["emulator-100"]["max_spins"] == 100
    assert drivers["emulator-100"]["coupling_bits"] == 8
    assert drivers["emulator-dsb"]["has_field"]
    said = run("list")[1]
    assert "…" not in said
    row = next(line for line in said.splitlines() if "emulator-dsb" in line)
    assert [word in row for word in ("20000", "real", "yes")] == [True] * 3
    for driver in drivers.values():
        assert driver["description"] in said


def test_list_leaves_out_what_is_too_small_or_has_no_field(run):
    def names(*options):
        return {each["name"] for each in json.loads(run("list", "--json", *options)[1])}

    every = names()
    assert every - names("--spins", "1000") == {"emulator-100", "emulator-550"}
    assert "emulator-550" not in names("--bits", "9")
    assert {"emulator", "emulator-dsb"} <= names("--bits", "16")
    assert {"emulator", "emulator-dsb"} & names("--field") == {"emulator-dsb"}
    assert names("--spins", "100513") == set()


MODULES = {
    "plain": "def make():\n    '''Our bench, of 12 pulses.\n\n    More.'''\n    raise OSError",
    "missing": "import no_such_library",
    "absent": "",
    "torn": "def make(:",
    "ends": "import sys\nsys.exit(3)",
    "raises": "raise RuntimeError('no licence')",
    "built": "from cim_hal import emulated\n@emulated\ndef make(host: str): ...",
    "odd": "from cim_hal import emulated\n@emulated\ndef make(): return 3",
}


def test_drivers_that_do_not_start_are_listed_with_the_reason(run, tmp_path, monkeypatch):
    found = tmp_path / "their_lab-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: their-lab\nVersion: 1.0\n")
    entries = "".join(f"{name} = lab_{name}:make\n" for name in MODULES)
    (found / "entry_points.txt").write_text(f"[cim_hal.drivers]\n{entries}")
    for name, text in MODULES.items():
        (tmp_path / f"lab_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    status, out, _ = run("list", "--json")
    assert status == 0
    said = {each["name"]: each["description"] for each in json.loads(out)}
    assert said["plain"] == "Our bench, of 12 pulses."
    for name, why in {
        "missing": "No module named 'no_such_library'",
        "absent": "has no attribute 'make'",
        "torn": "SyntaxError",
        "ends": "SystemExit: 3",
        "raises": "RuntimeError: no licence",
        "built": "needs the option host",
        "odd": "made an int",
    }.items():
        assert said[name].startswith("does not start: "), name
        assert why in said[name]
    assert {each["name"] for each in json.loads(run("list", "--json", "--field")[1])} >= set(
        MODULES
    )
    listed = run("list")[1]
    assert "RuntimeError: no licence" in listed
    assert listed.splitlines()[-1].startswith("-: not opened")


def test_a_group_without_a_command_is_one_line(run):
    assert run("keys") == (2, "", "error: Missing command. (see cim-hal keys --help)\n")


def test_an_unknown_setting_gets_the_nearest(run, graph):
    status, _, err = run("sample", ADJUSTABLE, "--model", graph, "--setting", "flip=1")
    assert status == 2
    assert "did you mean flips?" in err
