"""A user's program under ``mypy --strict``: exact types, no `Any` where a result is returned."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType

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
# Of pydantic, put there by a decorator, of the type of its argument, and attributes of the class
# of a tuple, which mypy takes for items.
INNER = {"model_config", "is_emulated", "scalars", "splitters"}
# Types of packages that have none, and type parameters.
UNKNOWN = {
    "cim_hal.SampleSet.to_pandas",
    "cim_hal.emulated",
    "qnn_train.QuantizedNetworkClassifier.set_fit_request",
    "qnn_train.QuantizedNetworkClassifier.set_score_request",
    "qnn_train.QuantizedNetworkRegressor.set_fit_request",
    "qnn_train.QuantizedNetworkRegressor.set_score_request",
    "qnn_train.solve.Iterate.state",
    "qnn_train.solve.restored",
}
# What may be anything: shapes, kinds of number, what is sent to a coroutine, arguments of a
# callable, values in JSON.
OPEN = (
    r"tuple\[(builtins\.)?Any, \.\.\.\]",
    r"(?<=dtype|neric|teger|ating|slice)\[Any(, Any)*\]",
    r"(?<=Coroutine\[)Any, Any",
    r"(?<=Generator\[).*, Any",
    r"def \(\*Any, \*\*Any\)",
    r"dict\[(builtins\.)?str, Any\]",
)
RETURNED = """
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def returned(function: Callable[..., T]) -> T:
    return function()


"""


def _members(cls: type) -> list[str]:
    ours = [c for c in cls.__mro__ if c.__module__.startswith(("cim_hal", "emulator", "qnn_train"))]
    names = {name for c in ours for name in [*vars(c), *vars(c).get("__annotations__", {})]}
    return sorted(name for name in names if name[0] != "_" and name not in INNER)


def _public_names() -> list[tuple[str, str]]:
    page = (ROOT / "docs/reference/api.md").read_text()
    names = r"^   ((?:cim_hal|emulator|qnn_train)[\w.]*)\.(\w+)(?:  .*)?$"
    return re.findall(names, page, re.MULTILINE)


def _public_values() -> list[tuple[str, str]]:
    """Each public function and member of a public class, and what reveals its type."""
    found = []
    for module, last in _public_names():
        name, public = f"{module}.{last}", getattr(importlib.import_module(module), last)
        if isinstance(public, FunctionType):
            found.append((name, f"() -> None: _ = reveal_type(returned({name}))"))
            continue
        for each in _members(public) if inspect.isclass(public) else ():  # not of an alias
            kind = inspect.getattr_static(public, each, None)
            is_called = isinstance(kind, FunctionType | classmethod | staticmethod)
            value = f"returned(x.{each})" if is_called else f"x.{each}"
            of = f"{name}[Any]" if getattr(public, "__parameters__", ()) else name
            found.append((f"{name}.{each}", f"(x: {of}) -> None: _ = reveal_type({value})"))
    return found


def _revealing(lines: str) -> str:
    revealed = []
    for line in textwrap.dedent(lines).strip().splitlines():
        revealed += [f"    {line}", f"    reveal_type({line.split(' = ')[0]})"]
    return "\n".join(revealed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")  # one cache for all programs


def _checked(path: Path, program: str) -> str:
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    path.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--cache-dir", str(path.parent / "cache"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_users_program_sees_exact_types(folder):
    program = PROGRAM.format(blocking=_revealing(BLOCKING), asyncio=_revealing(ASYNCIO))
    said = _checked(folder / "user.py", program)
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
def test_no_public_value_is_of_an_unknown_type(folder):
    values = _public_values()
    lines = [f"import {module}" for module in sorted({module for module, _ in _public_names()})]
    lines += ["from typing import Any", *RETURNED.splitlines()]
    first = len(lines) + 1
    lines += [f"def f{at}{line}" for at, (_, line) in enumerate(values)]
    said = _checked(folder / "user.py", "\n".join(lines) + "\n")
    assert re.findall("error:.*", said) == []
    unknown = {}
    revealed = re.findall(r'user\.py:(\d+): note: Revealed type is "(.*)"', said)
    assert len(revealed) == len(values) > 1000
    for number, type_ in revealed:
        if re.search(r"\bAny\b", re.sub("|".join(OPEN), "", type_)):
            unknown[values[int(number) - first][0]] = type_
    assert set(unknown) == UNKNOWN, {name: unknown[name] for name in unknown.keys() - UNKNOWN}


@pytest.mark.slow
def test_wrong_arguments_are_errors_of_both_faces(folder):
    program = PROGRAM.format(
        blocking="    pass",
        asyncio=textwrap.indent(
            'session = open_device("emulator")\ndevice = open_device_async("emulator")\n'
            + textwrap.dedent(WRONG),
            "    ",
        ),
    )
    said = _checked(folder / "user.py", program)
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
