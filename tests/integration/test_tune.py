"""``cim-hal tune`` on emulated machines."""

from __future__ import annotations

import json

import pytest

RING = "6 6\n1 2 1\n2 3 1\n3 4 1\n4 5 1\n5 6 1\n1 6 1\n"


@pytest.fixture
def ring(tmp_path):
    path = tmp_path / "ring.txt"
    path.write_text(RING)
    return str(path)


def test_what_tune_writes_sample_reads(run, ring, tmp_path):
    found = str(tmp_path / "found.toml")
    options = ("--seconds", "60", "--trials", "3", "--out", found, "--json")
    status, out, err = run("tune", "emulator-mean-field", "--model", ring, *options)
    assert status == 0, err
    summary = json.loads(out)
    assert summary["n_trials"] == 3
    assert summary["best_energy"] == -6.0
    assert len(summary["scores"]) == 3
    status, out, err = run(
        "sample", "emulator-mean-field", "--model", ring, "--settings", found, "--json"
    )
    assert status == 0, err
    assert json.loads(out)["round_trips"] == summary["round_trips"]


def test_tune_shows_the_defaults_beside_what_it_found(run, ring):
    status, out, _ = run(
        "tune", "emulator-bsb", "--model", ring, "--trials", "2", "--seconds", "600"
    )
    assert status == 0
    assert "defaults" in out
    assert "2 trials" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "nowhere.txt"), "nowhere.txt"),
        (("--model", "{ring}", "--out", "no/such/folder.toml"), "is not a folder"),
        (("--model", "{ring}", "--seconds", "0"), "--seconds"),
    ],
)
def test_wrong_input_is_one_line(run, ring, arguments, complaint):
    filled = [word.format(ring=ring) for word in arguments]
    status, out, err = run("tune", "emulator", *filled)
    assert (status, out) == (2, "")
    assert complaint in err
    assert len(err.splitlines()) == 1
