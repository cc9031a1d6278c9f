from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp
from cim_formats import whole
from cim_machines import Annealer

from cim_hal import IsingModel, ModelError
from cim_hal.errors import CapabilityError, RemoteProtocolError
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, lower_encoded, smallest
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.messages import CouplingRef, CouplingSpec

CAPABILITIES = Annealer().describe()


def _pair(value: float) -> np.ndarray:
    return np.array([[0.0, value], [value, 0.0]])


def _payload(*arrays: np.ndarray, **spec) -> EncodedCouplings:
    data = np.concatenate([np.ascontiguousarray(array).view(np.uint8) for array in arrays])
    return EncodedCouplings(CouplingSpec(**spec), data)


def test_a_sparse_model_stays_sparse_and_small():
    upper = sp.triu(sp.random_array((300, 300), density=0.01, rng=1), k=1)
    model = IsingModel.from_couplings(upper + upper.T, np.arange(300))
    payload = smallest(Couplings.of(model))
    assert payload.spec.format == "coo"
    assert len(payload.data) == n_bytes(payload.spec) < 300 * 30
    back = payload.content().model()
    assert back.is_sparse
    assert (back.J != model.J).nnz == 0
    np.testing.assert_array_equal(back.h, model.h)


@pytest.mark.parametrize(("density", "as_sparse"), [(0.01, False), (0.99, True)])
def test_a_model_travels_in_the_shorter_format_and_is_kept_in_its_own(density, as_sparse):
    upper = np.triu(sp.random_array((60, 60), density=density, rng=1).toarray(), 1)
    J = upper + upper.T
    content = Couplings.of(IsingModel.from_couplings(sp.csr_array(J) if as_sparse else J))
    payload = smallest(content)
    assert payload.spec.format == ("triu" if as_sparse else "coo")
    assert len(payload.data) < len(content.payload.data)
    back = payload.content()
    assert back.digest == content.digest
    assert back.is_dense is not as_sparse


def test_the_digest_depends_on_content_and_on_nothing_else():
    dense = Couplings.of(IsingModel.from_couplings(_pair(1.0)))
    assert dense.digest == Couplings.of(IsingModel.from_couplings(_pair(1.0))).digest
    others = [
        IsingModel.from_couplings(_pair(-1.0)),
        IsingModel.from_couplings(_pair(1.0), [0.0, 1.0]),
        IsingModel.from_couplings(sp.csr_array(_pair(1.0))),
    ]
    assert dense.digest not in {Couplings.of(model).digest for model in others}


def test_the_digest_is_that_of_the_specification():
    content = Couplings.of(IsingModel.from_couplings(_pair(-3.0)))
    line = b"triu 2 |i1 - 0\n" + bytes([253])
    assert content.digest == f"sha256:{hashlib.sha256(line).hexdigest()}"
    content = Couplings.of(IsingModel.from_couplings(sp.csr_array(_pair(1.0)), [0, 2.0]))
    line = b"coo 2 bits |i1 1\n" + bytes([0, 0, 1, 0, 1, 0, 2])
    assert content.digest == f"sha256:{hashlib.sha256(line).hexdigest()}"


@pytest.mark.parametrize("sparse", [False, True])
def test_all_of_j_is_named_by_its_content_and_not_by_its_bytes(sparse):
    J = _pair(1.0)
    content = Couplings.of(IsingModel.from_couplings(sp.csr_array(J) if sparse else J))
    payload = whole(content)
    assert payload.spec.format == ("csr" if sparse else "dense")
    lowering = lower_encoded(payload, CouplingRef(digest=content.digest), CAPABILITIES).lowering
    assert (lowering.coupling == J).all()
    with pytest.raises(RemoteProtocolError, match="digest"):
        lower_encoded(payload, CouplingRef(digest=payload.digest()), CAPABILITIES)


def test_prepare_refuses_bytes_of_another_digest():
    for payload in (whole(Couplings.of(IsingModel.from_couplings(_pair(1.0)))),
                    Couplings.of(IsingModel.from_couplings(_pair(1.0))).payload):  # fmt: skip
        with pytest.raises(RemoteProtocolError, match="digest"):
            lower_encoded(payload, CouplingRef(digest=f"sha256:{'0' * 64}"), CAPABILITIES)


def test_prepare_fits_the_model_to_the_machine():
    content = Couplings.of(IsingModel.from_couplings(_pair(0.1)))
    ref = CouplingRef(digest=content.digest, bits=4)
    lowered = lower_encoded(content.payload, ref, CAPABILITIES)
    np.testing.assert_array_equal(lowered.lowering.coupling, [[0, 7], [7, 0]])


def test_prepare_refuses_more_bits_than_the_machine_has():
    content = Couplings.of(IsingModel.from_couplings(_pair(0.1)))
    with pytest.raises(CapabilityError):
        lower_encoded(content.payload, CouplingRef(digest=content.digest, bits=12), CAPABILITIES)


@pytest.mark.parametrize("J", [[[0, 1], [2, 0]], [[3, 0], [0, 0]], [[0, np.inf], [np.inf, 0]]])
def test_bytes_that_are_no_ising_model_are_refused(J):
    with pytest.raises(ModelError):
        _payload(np.array(J, "<f8").reshape(-1), format="dense", n_spins=2, dtype="<f8").content()


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
    parts = [np.array(starts, "<i4"), np.array(columns, "<i4"), np.ones(2, "|i1")]
    with pytest.raises(ModelError):
        _payload(*parts, format="csr", n_spins=2, dtype="|i1", nnz=2).content()


@pytest.mark.parametrize(
    ("rows", "columns", "values", "sentence"),
    [
        ([0, 1], [1, 3], [1, 2], r"entry 1 of the couplings is J\[1,3\]"),
        ([0, 1], [1, 1], [1, 2], r"entry 1 of the couplings is J\[1,1\]"),
        ([1, 0], [0, 1], [1, 2], r"entry 0 of the couplings is J\[1,0\]"),
        ([0, 0], [1, 1], [1, 2], r"J\[0,1\], stands there twice"),
        ([0, 0], [2, 1], [1, 2], r"J\[0,1\], is out of order"),
        ([0, 0], [1, 2], [1, 0], "an entry of zero"),
        ([0, 0], [1, 2], [1, np.nan], "number 1 of the couplings is nan"),
    ],
)
def test_entries_that_are_hostile_are_refused_with_their_place(rows, columns, values, sentence):
    parts = [np.array(rows, "<u2"), np.array(columns, "<u2"), np.array(values, "<f4")]
    with pytest.raises(ModelError, match=sentence):
        _payload(*parts, format="coo", n_spins=3, dtype="<f4", nnz=2).content()


@pytest.mark.parametrize(
    "spec",
    [
        {"format": "dense", "dtype": "bits"},
        {"format": "triu", "dtype": "|i1", "nnz": 3},
        {"format": "csr", "dtype": "|i1", "keep": "dense"},
        {"format": "delta", "dtype": "|i1"},
        {"format": "triu", "dtype": "|i1", "base": f"sha256:{'0' * 64}"},
    ],
)
def test_a_spec_that_does_not_hold_together_is_refused(spec):
    with pytest.raises(ValueError, match="Value error"):
        CouplingSpec(n_spins=4, **spec)
