"""Every public callable of `cim_hal`, with arguments of wrong types: a clear error at once.

Callables and parameters are found by themselves; a new name needs right values of what it must be
given, in `RIGHT`. Which of the wrong values is right after all follows from the annotation.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
from cim_machines import Adjustable
from pydantic import BaseModel
from wrong_values import WRONG

import cim_hal
from cim_hal import DevicePool, Fault, FaultScript, IsingModel, PumpSchedule, open_device
from cim_hal.client.options import ConnectionKeywords, ConnectionOptions, SampleKeywords

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
RAMP = PumpSchedule.linear(0.0, 2.0, round_trips=3)
BENCH = Adjustable().describe()
LOWERING = cim_hal.lower(PAIR, BENCH)
SPLIT = cim_hal.SplitModel.of(PAIR, 1)
SCRIPT = FaultScript(faults=(Fault(kind="nan", every=2),))
RECORD: dict[str, Any] = {
    "device": "a", "job": "b", "coupling": "c", "seed": 1, "round_trips": 3, "device_s": 1.0,
    "lowering": LOWERING.report,
}  # fmt: skip
SAMPLES = cim_hal.SampleSet.rank(PAIR, np.ones((2, 2), np.int8), None, cim_hal.RunRecord(**RECORD))
OPTIONS = ConnectionOptions(Adjustable())
SHAPES = {"round_trips": 3, "n_runs": 1, "n_spins": 2}

# Right values of parameters without a default.
RIGHT: dict[str, dict[str, Any]] = {
    "AsyncDevicePool": {"targets": ["emulator"]},
    "AsyncSession": {"options": OPTIONS},
    "Calibration": {"valid_s": 1.0},
    "Calibration.is_stale": {"age_s": 1.0},
    "Capabilities": {"name": "a", "max_spins": 2, "coupling_bits": 8},
    "Capabilities.check_runs": {"n_runs": 1},
    "Capabilities.check_schedule": {"schedule": RAMP},
    "Capabilities.check_settings": {"settings": {}},
    "Capabilities.check_trace": {"trace": cim_hal.TraceRequest(1), **SHAPES},
    "DevicePool": {"targets": ["emulator"]},
    "DevicePool.as_completed": {"jobs": []},
    "DevicePool.local": {"target": "emulator", "machines": 1},
    "DevicePool.map": {"models": [PAIR]},
    "DevicePool.sample": {"model": PAIR},
    "DevicePool.submit": {"model": PAIR},
    "Fault": {"kind": "nan", "every": 2},
    "FaultScript": {"faults": SCRIPT.faults},
    "FaultScript.fault_in": {"job": 1},
    "FaultScript.has": {"kind": "nan"},
    "FaultScript.read": {"path": "nowhere"},
    "FaultyDriver": {"driver": Adjustable(), "script": SCRIPT},
    "IsingModel": {"J": PAIR.J, "h": PAIR.h},
    "IsingModel.cut": {"spins": [1, 1]},
    "IsingModel.energy": {"spins": [1, 1]},
    "IsingModel.from_couplings": {"J": PAIR.J},
    "IsingModel.from_maxcut": {"W": PAIR.J},
    "IsingModel.from_qubo": {"Q": PAIR.J},
    "IsingModel.local_field": {"spins": [1, 1]},
    "IsingModel.with_changes": {"rows": [0], "columns": [1], "values": [2.0]},
    "LocalTransport": {"driver": Adjustable()},
    "LoopbackTransport": {"driver": Adjustable()},
    "Lowering.lift": {"values": np.ones((1, 3))},
    "MachineConfig": {"driver": "emulator"},
    "MachineConfig.of": {"target": "emulator"},
    "PumpSchedule": {"pump": (1.0,), "round_trips": 3},
    "PumpSchedule.constant": {"pump": 1.0, "round_trips": 3},
    "PumpSchedule.linear": {"start": 1.0, "stop": 1.0, "round_trips": 3},
    "PumpSchedule.stretched": {"round_trips": 3},
    "PumpSchedule.through": {"pump": (1.0,), "round_trips": 3},
    "Reading": {"name": "a", "value": 1.0},
    "SampleSet.concat": {"other": SAMPLES},
    "SampleSet.lowest": {"n_runs": 1},
    "SampleSet.rank": {
        "model": PAIR, "spins": SAMPLES.spins, "amplitudes": None, "record": SAMPLES.record,
    },
    "SampleSet.reached": {"energy": 0.0},
    "SampleSet.success_probability": {"energy": 0.0},
    "Session": {"options": OPTIONS},
    "Session.break_lock": {"epoch": 1},
    "Session.cancel": {"job_id": "1" * 32},
    "Session.drop_couplings": {"digest": f"sha256:{1:064x}"},
    "Session.job": {"job_id": "1" * 32},
    "Session.load": {"model": PAIR},
    "Session.reset": {"stop": 1},
    "Session.sample": {"model": PAIR},
    "Session.submit": {"model": PAIR},
    "Setting": {"name": "a", "default": 1.0, "low": 0.0, "high": 2.0},
    "Setting.check": {"value": 1.0},
    "StopToken.progress": {"done": 1, "total": 2},
    "SplitModel.broken": {"spins": SAMPLES.spins},
    "SplitModel.lift": {"values": SAMPLES.spins},
    "SplitModel.of": {"model": PAIR, "top": 1},
    "TraceRequest": {"every": 1},
    "TraceRequest.frames": {"round_trips": 3},
    "TraceRequest.n_bytes": SHAPES,
    "TraceRequest.n_frames": {"round_trips": 3},
    "Tuner": {"model": PAIR},
    "emulated": {"factory": Adjustable},
    "lower": {"model": PAIR, "capabilities": BENCH},
    "lower_by": {"policy": "max", "model": PAIR, "capabilities": BENCH},
    "make_driver": {"target": "emulator"},
    "max_level": {"bits": 2},
    "open_device": {"target": "emulator"},
    "open_device_async": {"target": "emulator"},
    "quantize": {"J": PAIR.J, "h": PAIR.h, "bits": 8, "field_bits": 8},
    "read_model": {"path": "nowhere"},
    "spawn_server": {"target": "emulator"},
    "write_model": {"path": "nowhere/a.txt", "model": PAIR},
}  # fmt: skip
# Made by the package or by drivers, and checked where they are used; and what only calls back.
UNCHECKED = {
    "AsyncJob", "Driver", "Job", "Job.fetch", "Lease", "LoweredModel", "Lowering", "LoweringReport",
    "Program", "Readout", "RunRecord", "Sample", "SampleSet", "SpawnedServer", "SplitModel",
    "StopToken", "StopToken.deliver", "StopToken.report", "Trace", "Transport", "Triangle",
    "Triangle.of",
}  # fmt: skip
# How a sentence names a parameter, where not by its name.
NAMED = {
    "job_id": "job", "models": "model", "policy": "lowering", "defaults": "settings",
    "path": "path|file|script",
    "target": "target|device|driver", "targets": "device|targets", "seeds": "seed",
    "value": "value|settings",
}  # fmt: skip
# Wrong values that are taken on purpose.
TAKEN = {
    "description": {"text"}, "facts": {"dict"}, "lock": set(WRONG), "open_transport": set(WRONG),
    "properties": {"dict"}, "timeout_s": {"None"}, "unit": {"text"}, "units": {"dict"},
    "reason": set(WRONG),  # an emergency stop is not refused for its words
    "FaultScript.has.kind": {"text"}, "Reading.value": {"nan", "text"},
    "Option.low": {"bool"}, "Option.high": {"bool"},
    "MachineConfig.target": {"text"}, "Capabilities.completed.settings": {"dict"},
    **{
        f"MachineConfig.{key}": {"text"}
        for key in ("driver", "name", "hardware", "of.target", "key", "server_key")
    },
    "options": {"dict"}, "texts": {"dict"},
    "open_device_async.target": {"text"},  # when it is opened
    **{f"{name}.{key}": {"text"} for key in ("key", "server_key")
       for name in ("open_device", "open_device_async", "DevicePool", "AsyncDevicePool")},
}  # fmt: skip


def _instances(session: cim_hal.Session, pool: DevicePool) -> dict[type[Any], Any]:
    job = session.submit(PAIR, RAMP)
    job.wait()
    made = (
        PAIR, RAMP, BENCH, LOWERING, SPLIT, SCRIPT, SAMPLES, session, pool, job, BENCH.settings[0],
        cim_hal.Calibration(valid_s=1.0), cim_hal.StopToken(), cim_hal.TraceRequest(1),
    )  # fmt: skip
    return {type(each): each for each in made}


def _calls(instances: dict[type[Any], Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every public callable and its name."""
    for name in cim_hal.__all__:
        public = getattr(cim_hal, name)
        if not inspect.isclass(public):
            yield name, public
        elif not issubclass(public, BaseException):
            yield name, public
            for attribute in sorted(set(dir(public)) - set(dir(BaseModel))):
                static = inspect.getattr_static(public, attribute)
                is_bound = isinstance(static, classmethod | staticmethod)
                if not attribute.startswith("_") and (is_bound or inspect.isfunction(static)):
                    owner = public if is_bound else instances.get(public)
                    if owner is not None:
                        yield f"{name}.{attribute}", getattr(owner, attribute)


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of parameters, options of a `TypedDict` too, and their annotations."""
    for parameter in inspect.signature(function).parameters.values():
        kind = str(parameter.annotation)
        if parameter.kind is not parameter.VAR_KEYWORD:
            yield parameter.name, kind
        elif "Keywords" in kind:
            options = ConnectionKeywords if "Connection" in kind else SampleKeywords
            for name, hint in options.__annotations__.items():
                yield name, getattr(hint, "__forward_arg__", str(hint))


def _taken(function: Callable[..., Any], where: str, name: str, kind: str) -> set[str]:
    taken = TAKEN.get(name, set()) | TAKEN.get(f"{where}.{name}", set())
    for word, values in {"None": {"None"}, "bool": {"bool"}, "Any": set(WRONG)}.items():
        if re.search(rf"\b{word}", kind):
            taken = taken | values
    is_pydantic = inspect.isclass(function) and issubclass(function, BaseModel)
    return taken | {"bool", "huge"} if is_pydantic else taken


def _fault(function: Callable[..., Any], right: dict[str, Any], name: str, value: Any) -> str:
    """Return what is wrong with what happens; nothing where a good error is raised."""
    try:
        made = function(value) if name == "states" else function(**right | {name: value})
        made = list(made) if isinstance(made, Iterator) else made
        made = made.result(20.0) if isinstance(made, Future) else made
    except (cim_hal.CimError, ValueError, TypeError) as error:
        named = rf"\b({NAMED.get(name, name)})"
        return "" if re.search(named, str(error)) else f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001  that is what is looked for
        return f"{type(error).__name__}: {error}"
    if hasattr(made, "close") and inspect.iscoroutine(ended := made.close()):
        ended.close()
    return f"returns {made!r:.80}"


def test_a_wrong_argument_is_an_error_that_names_it():
    found, seen = [], set()
    with open_device(Adjustable()) as session, DevicePool([Adjustable()]) as pool:
        for name, function in _calls(_instances(session, pool)):
            if name in UNCHECKED:
                continue
            right = RIGHT.get(name, {}) | ({"session": session} if name == "Tuner" else {})
            for parameter, kind in _parameters(function):
                for key in WRONG.keys() - _taken(function, name, parameter, kind):
                    fault = _fault(function, right, parameter, WRONG[key])
                    if fault:
                        found.append(f"{name}({parameter}={key}): {fault}")
            seen.add(name)
    assert found == []
    assert RIGHT.keys() - seen == set()
