"""Models through bytes: nothing is lost, and nothing is accepted that is no model."""

from __future__ import annotations

import contextlib

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cim_hal import IsingModel, ModelError
from cim_hal.protocol.couplings import Payload, n_bytes
from cim_hal.protocol.messages import CouplingSpec

values = st.one_of(
    st.integers(-130, 130).map(float),
    st.integers(-40_000, 40_000).map(float),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
)


@st.composite
def models(draw: st.DrawFn) -> IsingModel:
    n = draw(st.integers(1, 6))
    upper = np.triu(draw(hnp.arrays(np.float64, (n, n), elements=values)), k=1)
    J = upper + upper.T
    h = draw(hnp.arrays(np.float64, n, elements=values) | st.none())
    return IsingModel.from_couplings(sp.csr_array(J) if draw(st.booleans()) else J, h)


@given(models())
def test_unpacking_undoes_packing_exactly(model: IsingModel):
    payload = Payload.of(model)
    back = payload.model()
    assert back.is_sparse == model.is_sparse
    dense = [m.J.toarray() if m.is_sparse else m.J for m in (model, back)]
    np.testing.assert_array_equal(*dense)
    np.testing.assert_array_equal(back.h, model.h)
    assert Payload.of(back).digest() == payload.digest()


specs = st.builds(
    CouplingSpec,
    format=st.sampled_from(["dense", "csr"]),
    n_spins=st.integers(1, 4),
    nnz=st.integers(0, 5),
    dtype=st.sampled_from(["|i1", "<i2", "<f4", "<f8"]),
    field_dtype=st.sampled_from([None, "|i1", "<f8"]),
)


@given(specs, st.data())
def test_any_bytes_make_a_model_or_a_model_error(spec: CouplingSpec, data):
    raw = data.draw(st.binary(min_size=n_bytes(spec), max_size=n_bytes(spec)))
    with contextlib.suppress(ModelError), np.errstate(all="ignore"):
        model = Payload(spec, np.frombuffer(raw, np.uint8)).model()
        assert model.n_spins == spec.n_spins
        assert np.isfinite(model.J.data if model.is_sparse else model.J).all()
