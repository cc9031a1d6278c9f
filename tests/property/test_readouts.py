"""Whatever a readout's check accepts is finite in all that is handed out."""

from __future__ import annotations

import warnings

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cim_hal import IsingModel, Program, PumpSchedule, Readout, Trace, lower
from cim_hal.errors import DriverFaultError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.model.schedule import TraceRequest
from cim_hal.server.driver.messages import encode_readout

RUNS, SPINS, FRAMES = 3, 2, 2
CAN = Capabilities(name="x", max_spins=SPINS, coupling_bits=8)
LOWERING = lower(IsingModel.from_couplings([[0, 1], [1, 0]]), CAN)
SCHEDULE = PumpSchedule.constant(1.0, round_trips=4)
PROGRAM = Program(LOWERING, SCHEDULE, RUNS, 1, trace=TraceRequest(every=2, runs=RUNS))
KINDS = st.sampled_from(["<f2", "<f4", "<f8", np.longdouble, "|i1", "<i8", "|u1", "|b1", "<c8"])
EDGES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-50, -1e-50, 3.5e38, 1e39, 1e300, np.inf, np.nan])


def values(*shape: int):
    """Arrays of that shape, of many types, full of numbers at the edges."""

    def cast(found):
        array, kind = found
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return array.astype(kind)

    return st.tuples(arrays.arrays(np.float64, shape, elements=EDGES), KINDS).map(cast)


@settings(max_examples=400)
@given(
    values(RUNS, SPINS),
    values(FRAMES, RUNS, SPINS),
    values(FRAMES),
    st.sampled_from([np.array([2, 4]), np.array([2.0, 4.0]), np.array([2, 4], np.uint8)]),
)
def test_what_is_accepted_is_finite_in_every_property(found, traced, pump, round_trips):
    readout = Readout(found, Trace(round_trips, pump, traced))
    try:
        readout.check(PROGRAM)
    except DriverFaultError:
        return
    assert set(np.unique(readout.spins)) <= {-1, 1}
    amplitudes = readout.amplitudes
    assert amplitudes is None or (np.isfinite(amplitudes).all() and amplitudes.any())
    assert all(isinstance(note, str | float | bool) for note in readout.findings.values())
    _, sent = encode_readout(readout, with_trace=True)
    assert all(np.isfinite(array).all() for array in sent)
    assert sent[1].tolist() == [2, 4]
