"""Values of callers: converted where nothing changes, refused otherwise."""

from __future__ import annotations

import datetime as dt
import fractions

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError, PumpSchedule, TraceRequest, max_level, quantize
from cim_hal.errors import ScheduleError
from cim_hal.model.conversion import real_array, real_number, whole_number

LONG = 2**53 + 1
NO_NUMBERS = {
    "complex": np.eye(2) * 1j,
    "complex without imaginary parts": np.eye(2) + 0j,
    "dates": np.zeros((2, 2), "datetime64[s]"),
    "durations": np.zeros((2, 2), "timedelta64[s]"),
    "objects": np.zeros((2, 2), object),
    "bool": np.eye(2, dtype=bool),
    "text": np.full((2, 2), "1"),
    "bytes": np.full((2, 2), b"1"),
    "records": np.zeros((2, 2), [("a", float)]),
    "long integers": np.full((2, 2), LONG),
    "long unsigned integers": np.full((2, 2), 2**64 - 1, np.uint64),
    "long integers in lists": [[0.5, LONG], [LONG, 0.5]],
    "long integers beside long ones": [[2**63, -LONG], [0, 0]],
    "long doubles": np.full((2, 2), np.longdouble(1) / 3),
    "masked": np.ma.masked_equal(np.eye(2), 0),
    "ragged": [[1, 2], [3]],
    "a dict": {(0, 1): 1.0},
    "a path": "model.npz",
    "nothing": None,
    "a list with nothing": [[0, None], [None, 0]],
    "a date": dt.datetime(2026, 1, 1),
    "an array in disguise": type("Odd", (), {"__array__": lambda *_, **__: 1 / 0})(),
}
DOORS = {
    "J": IsingModel.from_couplings,
    "Q": IsingModel.from_qubo,
    "W": IsingModel.from_maxcut,
    "h": lambda h: IsingModel.from_couplings(np.zeros((2, 2)), h),
    "spins": lambda s: IsingModel.from_couplings(np.zeros((2, 2))).energy(s),
}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("name", DOORS)
def test_what_float64_cannot_hold_is_refused_by_the_name_the_caller_uses(name, value):
    if name == "h" and value is None:
        return
    with pytest.raises(ModelError, match=rf"^{name} "):
        DOORS[name](value)


@pytest.mark.parametrize("kind", ["complex", "bool", "long integers", "long doubles"])
@pytest.mark.parametrize("form", [sp.csr_array, sp.coo_matrix, sp.lil_array, sp.dok_array])
def test_sparse_matrices_are_held_to_the_same(kind, form):
    if kind == "long doubles" and form is sp.lil_array:
        pytest.skip("scipy itself loses the digits")
    with pytest.raises(ModelError, match=r"^J "):
        IsingModel.from_couplings(form(NO_NUMBERS[kind]))


@pytest.mark.parametrize(
    "exact",
    [
        np.int8([[0, -128]]),
        np.uint64([[0, 2**63]]),
        np.float16([[0, 0.1]]),
        np.longdouble([[0, 0.5]]),
        [[0, 2**53]],
        [[0.5, 2**60]],
        np.matrix([[0, 1]]),
    ],
)
def test_values_that_fit_stay_what_they_are(exact):
    assert real_array("J", exact, ModelError).tolist() == np.asarray(exact).tolist()


def test_small_integers_given_twice_do_not_overflow():
    pair = ([0, 0, 1, 1], [1, 1, 0, 0])
    J = sp.coo_array((np.full(4, 100, np.int8), pair), shape=(2, 2))
    assert IsingModel.from_couplings(J).J.toarray().tolist() == [[0, 200], [200, 0]]


@pytest.mark.parametrize(
    "value", [None, "1", True, 1j, LONG, float("nan"), float("inf"), [1.0], fractions.Fraction(1)]
)
def test_an_offset_is_one_finite_number(value):
    with pytest.raises(ModelError, match="offset"):
        IsingModel.from_couplings([[0, 1], [1, 0]], offset=value)
    with pytest.raises(ModelError, match="offset"):
        IsingModel.from_qubo([[0, 1], [1, 0]], value)


@pytest.mark.parametrize("value", [1, np.float32(0.5), np.int64(3), np.array(2.0)])
def test_numbers_of_numpy_are_numbers(value):
    assert real_number("offset", value, ModelError) == float(value)


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, np.array([1, 2]), 1j])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(ModelError, match="n_runs"):
        whole_number("n_runs", value, ModelError)


@pytest.mark.parametrize("pump", ["12", 1.0, [1j], [None], [True], {0: 1.0}, [[1.0]], None])
def test_a_schedule_is_made_of_numbers(pump):
    with pytest.raises(ScheduleError, match="pump"):
        PumpSchedule.through(pump, round_trips=3)


@pytest.mark.parametrize("count", [2.5, "2", None, True, 0])
def test_lengths_are_integers(count):
    with pytest.raises(ScheduleError, match="round_trips"):
        PumpSchedule.constant(1.0, round_trips=count)
    with pytest.raises(ModelError, match=r"trace\.every"):
        TraceRequest(count)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_small_integers_of_numpy_do_not_overflow_later(kind):
    J, h = np.array([[0, 0.3], [0.3, 0]]), np.zeros(2)
    sixteen = kind(16)
    assert max_level(sixteen) == 2**15 - 1
    assert quantize(J, h, bits=sixteen, field_bits=sixteen).step == 0.3 / (2**15 - 1)
    assert TraceRequest(every=kind(2)).n_frames(kind(100)) == 50
    assert type(whole_number("n", np.array(3, kind), ModelError)) is int


@pytest.mark.parametrize("value", [0, 65, 10**400])
def test_integers_out_of_range_are_refused_before_they_cost_time(value):
    with pytest.raises(ModelError, match=r"bits = .*1 to 64"):
        max_level(value)


@pytest.mark.parametrize("kind", [np.ma.masked_array, np.matrix])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_class_itself_takes_plain_arrays_alone(kind):
    with pytest.raises(ModelError, match="from_couplings"):
        IsingModel(kind(np.zeros((2, 2))), np.zeros(2))
    with pytest.raises(ModelError, match="from_couplings"):
        IsingModel(np.zeros((2, 2)), kind(np.zeros(2)))
