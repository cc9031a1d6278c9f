"""A training whose process is killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from functools import cache

import numpy as np
import processes
import pytest

COMMAND = [sys.executable, "-m", "qnn_train"]
TRAININGS = {
    "proximal": [
        *("proximal", "--classes", "all", "--hidden", "4", "--grid", "4"),
        *("--sweeps", "6", "--seed", "3"),
        *("--runs", "8", "--round-trips", "100", "--block-spins", "64"),
    ],
    "qcgd": ["--train-samples", "12", "--iterations", "24", "--runs", "8", "--seed", "3"],
}


def train(folder, *arguments):
    """Run the command to its end and return its report, without times, and its network."""
    subprocess.run([*COMMAND, *arguments, "--quiet", "--out", str(folder)], check=True, timeout=120)
    report = json.loads((folder / "report.json").read_text())
    for part in (report, report["hardness"], report["polish"]):
        (part or {}).pop("seconds", None)
    with np.load(folder / "model.npz") as model:
        return report, {name: model[name].tolist() for name in model.files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a training yields that nobody stops, made once."""
    return cache(lambda method: train(tmp_path_factory.mktemp("whole") / "out", *TRAININGS[method]))


def stopped(training, folder, checkpoint, how, when):
    """Start a training, and stop it `when` seconds after its first checkpoint."""
    command = [*COMMAND, *training, "--checkpoint", str(checkpoint), "--out", str(folder)]
    command.append("--quiet")
    with processes.start(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(when)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert checkpoint.exists()
    return process.returncode, said.decode()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("method", TRAININGS)
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, uninterrupted, method, how):
    training = TRAININGS[method]
    whole = uninterrupted(method)
    checkpoint = tmp_path / "there.npz"
    when = random.SystemRandom().uniform(0.0, 0.5)
    status, said = stopped(training, tmp_path / "stopped", checkpoint, how, when)
    if how is signal.SIGKILL:
        assert status in {-signal.SIGKILL, 0}
    elif status:
        assert status == 130
        is_written = (tmp_path / "stopped" / "report.json").exists()  # it was about to end
        assert is_written or f"go on with: qnn-train --resume {checkpoint}" in said
    assert train(tmp_path / "again", "--resume", str(checkpoint)) == whole
