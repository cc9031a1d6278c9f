"""A user's program under ``mypy --strict``: exact types, no `Any` where a result is returned."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each name is assigned what the call after it returns.
BLOCKING = """
    session = open_device("emulator")
    samples = session.sample(model, schedule, n_runs=4, seed=1, timeout_s=10.0)
    spins = samples.spins
    energies = samples.energies
    energy = model.energy(samples.spins)
    best = samples.best
    lowering = lower(model, session.describe().capabilities)
    lifted = lowering.lift(samples.spins)
    job = session.submit(model, n_runs=2)
    state = job.state
    waited = job.wait(1.0)
    result = job.result(timeout_s=1.0)
    batches = list(job.batches(first=0))
    lease = session.lock(note="x")
    epoch = lease.epoch
    loaded = session.load(model)
    status = session.status()
    jobs = session.jobs("done")
    pool = DevicePool(["emulator"])
    future = pool.submit(model, n_runs=3)
    pooled = pool.sample(model, schedule)
"""
ASYNCIO = """
    device = open_device_async("emulator")
    a_samples = await device.sample(model, schedule, n_runs=4, timeout_s=10.0)
    a_job = await device.submit(model, n_runs=2)
    a_state = await a_job.state()
    a_result = await a_job.result(timeout_s=1.0)
    a_lease = device.lock(note="x")
    a_status = await device.status()
    a_load = await device.load(model)
"""
PROGRAM = """
import numpy as np
from cim_hal import DevicePool, IsingModel, PumpSchedule, lower, open_device, open_device_async
from emulator import EmulatedCim

model = IsingModel.from_couplings(np.zeros((2, 2)))
schedule = PumpSchedule.constant(1.0, round_trips=10)


def described(machine: EmulatedCim) -> None:
    capabilities = machine.describe()
    reveal_type(capabilities)


def blocking() -> None:
{blocking}

async def asyncio() -> None:
{asyncio}
"""
WRONG = """
    session.sample(model, n_rums=4)
    session.submit(model, n_runs="4")
    await device.sample(model, n_rums=4)
    await device.ping(timeout_s="soon")
"""
# None of these has a type of its own in numpy's stubs or is an array of one known type.
EXPECTED = {
    "samples": "SampleSet",
    "lowering": "Lowering",
    "lifted": "signedinteger[numpy._typing._nbit_base._8Bit]",
    "state": "JobState",
    "result": "SampleSet",
    "lease": "Lease",
    "loaded": "Loaded",
    "future": "Future",
    "pooled": "SampleSet",
    "a_samples": "SampleSet",
    "a_job": "AsyncJob",
    "a_state": "JobState",
    "a_result": "SampleSet",
    "a_lease": "AsyncLease",
    "a_load": "Loaded",
}


def _revealing(lines: str) -> str:
    revealed = []
    for line in textwrap.dedent(lines).strip().splitlines():
        revealed += [f"    {line}", f"    reveal_type({line.split(' = ')[0]})"]
    return "\n".join(revealed)


def _checked(path: Path, program: str) -> str:
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    path.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--cache-dir", str(path.parent / "cache"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_users_program_sees_exact_types(tmp_path):
    program = PROGRAM.format(blocking=_revealing(BLOCKING), asyncio=_revealing(ASYNCIO))
    said = _checked(tmp_path / "user.py", program)
    assert "error:" not in said, said
    lines = program.splitlines()
    found = {}
    for number, type_ in re.findall(r'user\.py:(\d+): note: Revealed type is "(.*)"', said):
        name = re.fullmatch(r"\s*reveal_type\((.*)\)", lines[int(number) - 1])
        assert name is not None
        found[name[1]] = type_
    assert set(EXPECTED) <= set(found)
    wrong = {
        n: t
        for n, t in found.items()
        if t in {"Any", "builtins.object"} or EXPECTED.get(n, "") not in t
    }
    assert wrong == {}
    for name, type_ in found.items():
        shape_less = re.sub(r"tuple\[(?:builtins\.)?Any, \.\.\.\]|tuple\[Any, \.\.\.\]", "", type_)
        assert "Any" not in shape_less, (name, type_)


@pytest.mark.slow
def test_wrong_arguments_are_errors_of_both_faces(tmp_path):
    program = PROGRAM.format(
        blocking="    pass",
        asyncio=textwrap.indent(
            'session = open_device("emulator")\ndevice = open_device_async("emulator")\n'
            + textwrap.dedent(WRONG),
            "    ",
        ),
    )
    said = _checked(tmp_path / "user.py", program)
    assert said.count("error:") == 4, said


def test_the_keywords_are_the_fields_of_the_options():
    from dataclasses import fields

    from cim_hal.client.options import (
        ConnectionKeywords,
        ConnectionOptions,
        SampleKeywords,
        SampleOptions,
    )

    assert [f.name for f in fields(SampleOptions)] == list(SampleKeywords.__annotations__)
    names = [f.name for f in fields(ConnectionOptions)]
    assert names == ["target", *ConnectionKeywords.__annotations__]


@pytest.mark.parametrize("package", ["cim_hal", "emulator", "qnn_train"])
def test_packages_say_that_they_are_typed(package):
    assert (ROOT / package / "py.typed").exists()
