from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from cim_machines import Annealer

from cim_hal import IsingModel, ModelError
from cim_hal.errors import CapabilityError, RemoteProtocolError
from cim_hal.protocol.couplings import Payload, n_bytes, prepare, stored_bytes
from cim_hal.protocol.messages import CouplingRef, CouplingSpec

CAPABILITIES = Annealer().describe()


def _pair(value: float) -> np.ndarray:
    return np.array([[0.0, value], [value, 0.0]])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.0, "|i1"),
        (-128.0, "|i1"),
        (128.0, "<i2"),
        (-32768.0, "<i2"),
        (32768.0, "<f4"),
        (0.5, "<f4"),
        (0.1, "<f8"),
        (1e300, "<f8"),
        (2.0**24 + 1, "<f8"),
    ],
)
def test_numbers_travel_in_the_smallest_exact_type(value, dtype):
    payload = Payload.of(IsingModel.from_couplings(_pair(value)))
    assert payload.spec.dtype == dtype
    assert payload.model().J[0, 1] == value


def test_a_sparse_model_stays_sparse_and_small():
    upper = sp.triu(sp.random_array((300, 300), density=0.01, rng=1), k=1)
    model = IsingModel.from_couplings(upper + upper.T, np.arange(300))
    payload = Payload.of(model)
    assert len(payload.data) == n_bytes(payload.spec) < 300 * 300
    back = payload.model()
    assert back.is_sparse
    assert (back.J != model.J).nnz == 0
    np.testing.assert_array_equal(back.h, model.h)


def test_the_digest_depends_on_layout_and_bytes_and_on_nothing_else():
    dense = Payload.of(IsingModel.from_couplings(_pair(1.0)))
    assert dense.digest() == Payload.of(IsingModel.from_couplings(_pair(1.0))).digest()
    others = [
        IsingModel.from_couplings(_pair(-1.0)),
        IsingModel.from_couplings(_pair(1.0), [0.0, 1.0]),
        IsingModel.from_couplings(sp.csr_array(_pair(1.0))),
    ]
    assert dense.digest() not in {Payload.of(model).digest() for model in others}


def test_the_digest_is_that_of_the_specification():
    import hashlib

    payload = Payload.of(IsingModel.from_couplings(_pair(1.0)))
    content = b"dense 2 |i1 - 0\n" + bytes([0, 1, 1, 0])
    assert payload.digest() == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_prepare_refuses_bytes_of_another_digest():
    payload = Payload.of(IsingModel.from_couplings(_pair(1.0)))
    with pytest.raises(RemoteProtocolError, match="digest"):
        prepare(payload, CouplingRef(digest=f"sha256:{'0' * 64}"), CAPABILITIES)


def test_prepare_fits_the_model_to_the_machine():
    payload = Payload.of(IsingModel.from_couplings(_pair(0.1)))
    prepared = prepare(payload, CouplingRef(digest=payload.digest(), bits=4), CAPABILITIES)
    np.testing.assert_array_equal(prepared.lowering.coupling, [[0, 7], [7, 0]])


def test_prepare_refuses_more_bits_than_the_machine_has():
    payload = Payload.of(IsingModel.from_couplings(_pair(0.1)))
    with pytest.raises(CapabilityError):
        prepare(payload, CouplingRef(digest=payload.digest(), bits=12), CAPABILITIES)


@pytest.mark.parametrize("J", [[[0, 1], [2, 0]], [[3, 0], [0, 0]], [[0, np.inf], [np.inf, 0]]])
def test_bytes_that_are_no_ising_model_are_refused(J):
    spec = CouplingSpec(format="dense", n_spins=2, dtype="<f8")
    with pytest.raises(ModelError):
        Payload(spec, np.array(J, dtype="<f8").reshape(-1).view(np.uint8)).model()


@pytest.mark.parametrize(
    ("starts", "columns"),
    [
        ([0, 1, 3], [1, 0]),
        ([1, 1, 2], [1, 0]),
        ([0, 5, 2], [1, 0]),
        ([0, -9, 2], [1, 0]),
        ([0, 1, 2], [1, 2]),
        ([0, 1, 2], [-1, 0]),
        ([0, 2, 2], [1, 1]),
        ([0, 2, 2], [1, 0]),
    ],
)
def test_csr_indices_that_point_astray_are_refused(starts, columns):
    spec = CouplingSpec(format="csr", n_spins=2, dtype="|i1", nnz=2)
    parts = [np.array(starts, "<i4"), np.array(columns, "<i4"), np.ones(2, "|i1")]
    data = np.concatenate([part.view(np.uint8) for part in parts])
    with pytest.raises(ModelError):
        Payload(spec, data).model()


def test_the_size_kept_is_that_of_float64():
    assert stored_bytes(CouplingSpec(format="dense", n_spins=10, dtype="|i1")) == 800
