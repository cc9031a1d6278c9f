"""Values of the wrong kind, in every public call: one `CimError`, in words of the caller."""

from __future__ import annotations

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import (
    Capabilities,
    CimError,
    DevicePool,
    IsingModel,
    PumpSchedule,
    Retries,
    SampleSet,
    Trace,
    TraceRequest,
    Tuner,
    lower,
    make_driver,
    max_level,
    open_device,
    quantize,
    read_model,
    spawn_server,
)

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
MACHINE = Capabilities(name="any", max_spins=4, coupling_bits=8)
TRACE = Trace(np.arange(1), np.ones(1), np.ones((1, 1, 2), np.float32))
# of no kind that any argument has
ALIEN = {
    "a dict": {(0, 1): 1.0},
    "an object": object(),
    "a complex number": 1j,
    "bytes": b"\x00",
    "NaN": float("nan"),
    "a matrix of complex numbers": np.eye(2) * 1j,
    "a path": "there/model.npz",
    "a type": IsingModel,
}
NOTHING = {**ALIEN, "nothing": None, "a list": [[0, 1], [1, 0]], "an array": np.eye(2)}


class Unused(Annealer):
    """A machine that is asked nothing: every call is refused before."""

    def run(self, program, stop):
        pytest.fail("the driver was called")


@pytest.fixture(scope="module")
def device():
    with open_device(Unused()) as session:
        yield session


@pytest.fixture(scope="module")
def pool():
    with DevicePool([Unused()]) as machines:
        yield machines


MODELS = {
    "sample": lambda device, _, value: device.sample(value),
    "submit": lambda device, _, value: device.submit(value),
    "load": lambda device, _, value: device.load(value),
    "tuner": lambda device, _, value: Tuner(device, value),
    "pool.sample": lambda _, pool, value: pool.sample(value),
    "pool.map": lambda _, pool, value: pool.map([PAIR, value]),
    "lower": lambda *_, value: lower(value, MACHINE),
    "capabilities": lambda *_, value: lower(PAIR, value),
    "energies": lambda *_, value: TRACE.energies(value),
    "job": lambda device, _, value: device.job(value),
    "cancel": lambda device, _, value: device.cancel(value),
    "open_device": lambda *_, value: open_device(value),
    "make_driver": lambda *_, value: make_driver(value),
    "spawn_server": lambda *_, value: spawn_server(value),
    "pool": lambda *_, value: DevicePool(value),
    "read_model": lambda *_, value: read_model(value),
}
NUMBERS = {
    "schedule": lambda device, _, value: device.sample(PAIR, value),
    "n_runs": lambda device, _, value: device.sample(PAIR, n_runs=value),
    "seed": lambda device, _, value: device.sample(PAIR, seed=value),
    "coupling_bits": lambda device, _, value: device.sample(PAIR, coupling_bits=value),
    "gauge_seed": lambda device, _, value: device.sample(PAIR, gauge_seed=value),
    "priority": lambda device, _, value: device.submit(PAIR, priority=value),
    "key": lambda device, _, value: device.submit(PAIR, key=value),
    "trace": lambda device, _, value: device.sample(PAIR, trace=value),
    "timeout_s": lambda device, _, value: device.ping(timeout_s=value),
    "after": lambda device, _, value: device.history(after=value),
    "open timeout_s": lambda *_, value: open_device("emulator", timeout_s=value),
    "open retries": lambda *_, value: open_device("emulator", retries=value),
    "open epoch": lambda *_, value: open_device("emulator", epoch=value),
    "jobs_per_machine": lambda *_, value: DevicePool(["emulator"], jobs_per_machine=value),
    "machines": lambda *_, value: DevicePool.local("emulator", machines=value),
    "pool.timeout_s": lambda _, pool, value: pool.sample(PAIR, timeout_s=value),
    "lower.bits": lambda *_, value: lower(PAIR, MACHINE, bits=value),
    "lower.gauge": lambda *_, value: lower(PAIR, MACHINE, gauge_seed=value),
    "quantize": lambda *_, value: quantize(np.eye(2), value, bits=8, field_bits=8),
    "quantize.bits": lambda *_, value: quantize(np.eye(2), np.ones(2), bits=value, field_bits=8),
    "max_level": lambda *_, value: max_level(value),
    "work": lambda device, _, value: Tuner(device, PAIR, work=value),
    "pump": lambda *_, value: PumpSchedule(value, 3),
    "round_trips": lambda *_, value: PumpSchedule((1.0,), value),
    "stretched": lambda *_, value: PumpSchedule((1.0,), 3).stretched(value),
    "every": lambda *_, value: TraceRequest(value),
    "runs": lambda *_, value: TraceRequest(1, value),
    "base_s": lambda *_, value: Retries(base_s=value),
    "limit": lambda *_, value: Retries(limit=value),
    "spins": lambda *_, value: PAIR.energy(value),
    "rows": lambda *_, value: PAIR.with_changes(value, [1], [1]),
    "values": lambda *_, value: PAIR.with_changes([0], [1], value),
}


def refuses(call, device, pool, value) -> None:
    with pytest.raises(CimError) as refusal:
        call(device, pool, value=value)
    assert str(refusal.value)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wrong", NOTHING)
def test_where_an_object_belongs_another_is_refused(device, pool, name, wrong):
    refuses(MODELS[name], device, pool, NOTHING[wrong])


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", ALIEN)
def test_where_a_number_belongs_anything_else_is_refused(device, pool, name, wrong):
    refuses(NUMBERS[name], device, pool, ALIEN[wrong])


@pytest.mark.parametrize("value", [True, 1.5, "1", -1, np.nan, [1]])
@pytest.mark.parametrize(
    "name", ["n_runs", "seed", "machines", "round_trips", "every", "max_level"]
)
def test_a_count_is_an_integer_that_is_no_bool(device, pool, name, value):
    refuses(NUMBERS[name], device, pool, value)


@pytest.mark.parametrize(
    "value", [{"flips": None}, {"flips": "2"}, {"flips": np.nan}, [("flips", 2)]]
)
def test_settings_are_numbers_by_name(device, value):
    with pytest.raises(CimError):
        device.sample(PAIR, settings=value)


def test_the_hint_says_what_to_pass_instead(device):
    with pytest.raises(CimError, match=r"read_model\(path\)\.model"):
        device.sample("graph.txt")
    with pytest.raises(CimError, match="write the couplings into a matrix J"):
        device.sample({(0, 1): 1.0})
    with pytest.raises(CimError, match="from_couplings"):
        device.sample([[0, 1], [1, 0]])
    with pytest.raises(CimError, match=r"PumpSchedule\.linear"):
        device.sample(PAIR, [0.0, 1.0])


def test_sets_and_models_of_samples_are_checked():
    with pytest.raises(CimError, match="the model is a list"):
        SampleSet.rank([[0, 1], [1, 0]], np.ones((1, 2)), None, None)
