"""Models through bytes: nothing is lost, and nothing is accepted that is no model."""

from __future__ import annotations

import contextlib

import numpy as np
import scipy.sparse as sp
from cim_formats import whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cim_hal import IsingModel, ModelError
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, encode_change, smallest
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.messages import CouplingSpec

values = st.one_of(
    st.sampled_from([-1.0, 1.0]),
    st.just(0.0) | st.just(-0.0),
    st.integers(-130, 130).map(float),
    st.integers(-40_000, 40_000).map(float),
    st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.floats(1e-290, 1e300) | st.floats(-1e300, -1e-290),
)


@st.composite
def models(draw: st.DrawFn, max_spins: int = 6) -> IsingModel:
    n = draw(st.integers(1, max_spins))
    kind = draw(st.sampled_from([values, st.sampled_from([-1.0, 1.0]), st.just(0.0)]))
    upper = np.triu(draw(hnp.arrays(np.float64, (n, n), elements=kind)), k=1)
    J = upper + upper.T
    h = draw(hnp.arrays(np.float64, n, elements=values) | st.none())
    return IsingModel.from_couplings(sp.csr_array(J) if draw(st.booleans()) else J, h)


def dense(model: IsingModel) -> np.ndarray:
    return model.J.toarray() if model.is_sparse else model.J


def assert_same(model: IsingModel, other: IsingModel) -> None:
    assert other.is_sparse == model.is_sparse
    np.testing.assert_array_equal(dense(other), dense(model))
    np.testing.assert_array_equal(other.h, model.h)


@given(models())
def test_unpacking_undoes_packing_exactly(model: IsingModel):
    content = Couplings.of(model)
    assert_same(model, content.model())
    assert len(content.payload.data) == n_bytes(content.spec)


@given(models())
def test_whatever_format_a_model_travels_in_it_is_the_same_content(model: IsingModel):
    content = Couplings.of(model)
    for payload in (content.payload, smallest(content), whole(content)):
        there = EncodedCouplings(payload.spec, payload.data).content()
        assert there.digest == content.digest
        assert_same(model, there.model())
    assert len(smallest(content).data) <= len(content.payload.data)


@given(models())
def test_equal_models_have_one_name_and_others_have_others(model: IsingModel):
    again = IsingModel.from_couplings(model.J.copy(), model.h.copy())
    assert Couplings.of(again).digest == Couplings.of(model).digest
    h = model.h.copy()
    h[0] = np.nextafter(h[0], np.inf) if h[0] else 1.0
    other = IsingModel.from_couplings(model.J, h)
    assert Couplings.of(other).digest != Couplings.of(model).digest


@given(models(), st.data())
def test_a_delta_makes_what_an_upload_of_the_whole_would_and_leaves_its_base_alone(model, data):
    n = model.n_spins
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    pairs = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    J = data.draw(st.lists(values, min_size=len(pairs), max_size=len(pairs)))
    h = data.draw(st.none() | hnp.arrays(np.float64, n, elements=values))
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    changed = model.with_changes(columns, rows, np.array(J, np.float64), h=h)

    base = Couplings.of(model)
    name = base.digest
    field = None if h is None else changed.h
    delta = encode_change(name, n, changed.origin.pairs, field)
    result = EncodedCouplings(delta.spec, delta.data).content(base)
    assert result.digest == Couplings.of(changed).digest
    assert_same(changed, result.model())
    assert Couplings(base.payload).digest == name


specs = st.builds(
    dict,
    format=st.sampled_from(["dense", "csr", "triu", "coo"]),
    n_spins=st.integers(1, 4),
    nnz=st.integers(0, 5),
    dtype=st.sampled_from(["bits", "|i1", "<i2", "<f4", "<f8"]),
    field_dtype=st.sampled_from([None, "|i1", "<f8"]),
    keep=st.sampled_from(["", "dense", "sparse"]),
)


@given(specs, st.data())
def test_any_bytes_make_a_model_or_a_model_error(fields, data):
    try:
        spec = CouplingSpec(**fields)
    except ValueError:
        return
    raw = data.draw(st.binary(min_size=n_bytes(spec), max_size=n_bytes(spec)))
    with contextlib.suppress(ModelError), np.errstate(all="ignore"):
        model = EncodedCouplings(spec, np.frombuffer(raw, np.uint8)).content().model()
        assert model.n_spins == spec.n_spins
        assert np.isfinite(dense(model)).all()
