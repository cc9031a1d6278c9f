"""Every public value comes back from a pickle and from a copy as it was."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import cim_hal
from cim_hal import (
    Capabilities,
    Fault,
    FaultScript,
    IsingModel,
    Program,
    PumpSchedule,
    Reading,
    Readout,
    Retries,
    Setting,
    Telemetry,
    TraceRequest,
    lower,
    open_device,
    quantize,
    read_model,
)
from cim_hal.errors import CapabilityError, ModelError

J = np.array([[0, 1.0, 0.3], [1.0, 0, -2.0], [0.3, -2.0, 0]])
BASE = IsingModel.from_couplings(J, [0.5, 0, 0], 1.0)
SETTINGS = (Setting(name="a", default=1, low=0, high=2),)
MACHINE = Capabilities(
    name="any",
    max_spins=4,
    coupling_bits=8,
    settings=(Setting(name="a", default=1, low=0, high=2),),
)
LOWERING = lower(BASE, MACHINE, gauge_seed=1)
SCHEDULE = PumpSchedule.linear(0.0, 1.0, round_trips=np.int64(10))


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict[str, Any]:
    with open_device("emulator") as device:
        samples = device.sample(BASE, n_runs=4, seed=1, trace=TraceRequest(100))
        loaded, description = device.load(BASE), device.describe()
        telemetry, status = device.telemetry(), device.status()
    sparse = IsingModel.from_couplings(sp.csr_array(J))
    file = tmp_path_factory.mktemp("models") / "graph.txt"
    file.write_text("2 1\n1 2 1\n")
    return {
        "model": BASE,
        "sparse model": sparse,
        "changed model": BASE.with_changes([0], [1], [3.0]),
        "changed twice": BASE.with_changes([0], [1], [3.0]).with_changes([1], [2], [0.0]),
        "changed sparse model": IsingModel.from_couplings(sp.csr_array(J)).with_changes(
            [0], [1], [2]
        ),
        "model file": read_model(file),
        "schedule": SCHEDULE,
        "trace request": TraceRequest(np.int64(2), runs=3),
        "samples": samples,
        "joined samples": samples.concat(samples).lowest(3),
        "record": samples.record,
        "trace": samples.trace,
        "capabilities": MACHINE,
        "setting": MACHINE.settings[0],
        "lowering": LOWERING,
        "report": LOWERING.report,
        "sparse lowering": lower(sparse, MACHINE),
        "quantized": quantize(J, np.zeros(3), bits=4, field_bits=4),
        "program": Program(LOWERING, SCHEDULE, 2, 3, {"a": 1.5}, TraceRequest(2)),
        "readout": Readout(np.ones((2, 4)), notes={"a": 1}),
        "fault script": FaultScript(faults=(Fault(kind="hang", jobs=(1,)),)),
        "reading": Reading(name="a", value=1.0, unit="K"),
        "telemetry": Telemetry(),
        "retries": Retries(limit=3),
        "loaded": loaded,
        "description": description,
        "device status": telemetry,
        "status": status,
        "error": CapabilityError("max_spins", required=5, available=4),
        "schedule error": ModelError("wrong", hint="right"),
    }


def content(value: Any) -> Any:  # noqa: PLR0911
    """Return a value as what compares by content."""
    if sp.issparse(value):
        return value.toarray().tolist(), value.dtype.str
    if isinstance(value, np.ndarray):
        return value.tolist(), value.dtype.str
    if isinstance(value, IsingModel):  # where it came from does not travel
        return [content(part) for part in (value.J, value.h, value.offset)]
    if dataclasses.is_dataclass(value):
        return [content(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, cim_hal.CimError):
        return type(value), str(value), dict(value.details)
    if isinstance(value, Mapping):
        return {name: content(part) for name, part in value.items()}
    return value


def test_every_value_comes_back_as_it_was(values):
    for name, value in values.items():
        expected = content(value)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert content(pickle.loads(pickle.dumps(value, protocol))) == expected, name
        for again in (copy.copy(value), copy.deepcopy(value)):
            assert type(again) is type(value), name
            assert content(again) == expected, name


def test_values_made_of_numpy_scalars_are_those_made_of_numbers():
    assert PumpSchedule((np.float32(1.0),), np.int64(3)) == PumpSchedule((1.0,), 3)
    assert repr(TraceRequest(np.int64(2), np.int32(1))) == repr(TraceRequest(2, 1))
