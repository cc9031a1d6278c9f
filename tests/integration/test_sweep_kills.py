"""Studies of both tasks by one command, killed in the middle of each, end with the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

SAMPLE = """
[study]
name = "glasses"
[[models.family]]
kind = "sk"
n = 24
count = 5
[machine]
device = "emulator"
[factors]
coupling_bits = [2, 4, 10]
electronic_noise = [0, 2]
[repeat]
runs = 32
[[cliff]]
factor = "electronic_noise"
threshold = 0.3
"""
TRAIN = """
[study]
name = "few bits"
task = "train"
[train]
seeds = 3
options = {dataset = "digits", classes = [0, 1], train_samples = 8, iterations = 3, n_runs = 8}
[machine]
device = "emulator"
[factors]
coupling_bits = [2, 10]
electronic_noise = [0, 2]
"""
NAMES = ("glasses", "trainings")


def command(folder, out, *options):
    studies = [str(folder / f"{name}.toml") for name in NAMES]
    return [sys.executable, "-m", "cim_hal.cli", "sweep", *studies, "--out", str(out), *options]


def lines_of(out, name):
    path = out / name / "rows.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def rows_of(out):
    rows = [json.loads(line) for name in NAMES for line in lines_of(out, name)]
    for row in rows:
        del row["device_s"]
    return sorted(rows, key=json.dumps)


def kill_at(folder, out, name, n_rows):
    process = subprocess.Popen(command(folder, out, "--resume"), stdout=subprocess.DEVNULL)
    while len(lines_of(out, name)) < n_rows:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_killed_studies_of_both_tasks_go_on_to_the_same_rows(tmp_path):
    for name, text in zip(NAMES, (SAMPLE, TRAIN), strict=True):
        (tmp_path / f"{name}.toml").write_text(text)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(tmp_path, whole), check=True, stdout=subprocess.DEVNULL)
    kill_at(tmp_path, killed, "glasses", 7)
    kill_at(tmp_path, killed, "trainings", 5)
    subprocess.run(command(tmp_path, killed, "--resume", "--jobs", "2"), check=True)
    assert rows_of(killed) == rows_of(whole)
    for name in NAMES:
        one, other = (
            json.loads((out / name / "summary.json").read_text()) for out in (whole, killed)
        )
        assert one["verdicts"] == other["verdicts"]
        assert one["cliffs"] == other["cliffs"]
