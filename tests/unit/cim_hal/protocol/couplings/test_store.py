from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from coupling_stores import (
    BEGIN,
    CAPABILITIES,
    DIGEST,
    MODEL,
    PAYLOAD,
    load_all,
    new_library,
    send_all,
)

from cim_hal import IsingModel
from cim_hal.errors import (
    CapabilityError,
    InUseError,
    ModelError,
    PermissionDeniedError,
    UnknownReferenceError,
)
from cim_hal.protocol.couplings.content import (
    Couplings,
    EncodedCouplings,
    encode_change,
    lower_encoded,
)
from cim_hal.protocol.couplings.store import ENTRY_BYTES, CouplingStore
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CouplingChunk,
    CouplingRef,
    CouplingSpec,
)


def test_what_is_loaded_is_not_sent_again_by_anyone():
    library = new_library()
    loaded = load_all(library)
    assert library.begin("another", "ann", BEGIN, 1.0) == loaded


def test_other_bits_of_a_known_model_need_no_upload():
    library = new_library()
    load_all(library)
    ref = CouplingRef(digest=DIGEST, bits=4)
    task = library.begin("a", "ann", BeginCouplings(coupling=ref, spec=PAYLOAD.spec), 1.0)
    assert isinstance(task, Lower)
    assert isinstance(task.source, Couplings)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (CouplingSpec(format="dense", n_spins=3001, dtype="|i1"), "max_spins"),
        (CouplingSpec(format="dense", n_spins=3000, dtype="|i1", field_dtype="|i1"), "max_spins"),
        (CouplingSpec(format="csr", n_spins=3000, dtype="|i1", nnz=2**31 - 1), "coupling_bytes"),
    ],
)
def test_what_is_too_large_is_refused_before_a_byte_is_sent(spec, what):
    begin = BeginCouplings(coupling=CouplingRef(digest=f"sha256:{'0' * 64}"), spec=spec)
    with pytest.raises(CapabilityError) as caught:
        new_library().begin("a", "ann", begin, 0.0)
    assert caught.value.details["what"] == what


def test_couplings_that_were_dropped_are_asked_for_again():
    with pytest.raises(UnknownReferenceError) as caught:
        new_library().lowering(CouplingRef(digest=DIGEST))
    assert caught.value.details["kind"] == "coupling"


# ---- resuming -------------------------------------------------------------------------------


def test_bytes_that_are_no_couplings_are_forgotten_so_that_others_can_come():
    library = new_library()
    task = send_all(library)
    library.refuse(task)
    assert library.begin("a", "ann", BEGIN, 0.0).received == 0


# ---- deltas ---------------------------------------------------------------------------------


def _delta(**options) -> tuple[IsingModel, BeginCouplings]:
    changed = MODEL.with_changes([0, 3], [4, 2], [0.5, 0.0], **options)
    delta = encode_change(DIGEST, 10, changed.origin.pairs, None)
    ref = CouplingRef(digest=Couplings.of(changed).digest)
    return changed, BeginCouplings(coupling=ref, spec=delta.spec)


def test_a_delta_is_applied_to_what_is_held():
    library = new_library()
    load_all(library)
    changed, begin = _delta()
    delta = encode_change(DIGEST, 10, changed.origin.pairs, None)
    opened = library.begin("a", "ann", begin, 0.0)
    library.uploads.take("ann", CouplingChunk(upload=opened.upload, offset=0), delta.data, 0.0)
    task = library.commit("ann", opened.upload, 0.0)
    loaded = library.keep(
        task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES, task.base)
    )
    step = loaded.report.step
    np.testing.assert_allclose(library.lowering(begin.coupling).coupling * step, changed.J,
                               atol=step / 2)  # fmt: skip
    assert (library.lowering(BEGIN.coupling).coupling == MODEL.J).all()


def test_a_delta_of_what_is_not_held_is_refused_before_a_byte_is_sent():
    with pytest.raises(UnknownReferenceError) as caught:
        new_library().begin("a", "ann", _delta()[1], 0.0)
    assert caught.value.details["kind"] == "base"


def test_a_delta_of_another_size_is_refused_before_a_byte_is_sent():
    library = new_library()
    load_all(library)
    begin = _delta()[1]
    other = begin.model_copy(update={"spec": begin.spec.model_copy(update={"n_spins": 11})})
    with pytest.raises(ModelError, match="11 spins, its base has 10"):
        library.begin("a", "ann", other, 0.0)


def test_a_delta_to_sparse_couplings_that_may_grow_too_large_is_refused_before_a_byte_is_sent():
    sparse = Couplings.of(IsingModel.from_couplings(sp.csr_array([[0, 1.0], [1.0, 0]])))
    library = new_library(coupling_bytes=100)
    ref = CouplingRef(digest=sparse.digest)
    library.keep(ref, lower_encoded(sparse, ref, CAPABILITIES))
    spec = CouplingSpec(format="delta", n_spins=2, dtype="|i1", nnz=10**6, base=sparse.digest)
    begin = BeginCouplings(coupling=CouplingRef(digest=f"sha256:{'0' * 64}"), spec=spec)
    with pytest.raises(CapabilityError, match="coupling_bytes"):
        library.begin("a", "ann", begin, 0.0)


# ---- what is held ---------------------------------------------------------------------------


def test_what_is_held_is_listed_with_its_size():
    library = new_library()
    load_all(library)
    listing = library.listing(0)
    (held,) = listing.couplings
    assert (held.digest, held.n_spins, held.fits, held.in_use) == (DIGEST, 10, 1, False)
    # 45 bits, twice, an int16 field, a gauge of bytes, and the objects around them
    assert held.n_bytes == listing.n_bytes == 6 + 6 + 20 + 10 + 2 * ENTRY_BYTES
    assert library.listing(1).couplings == ()


def test_what_is_dropped_is_gone_and_its_memory_free():
    library = new_library()
    load_all(library)
    assert library.drop("ann", DIGEST, of_others=False).n_bytes == 42 + 2 * ENTRY_BYTES
    assert library.listing(0).n_bytes == 0
    with pytest.raises(UnknownReferenceError):
        library.drop("ann", DIGEST, of_others=False)


def test_what_others_loaded_too_is_not_for_a_user_to_drop():
    library = new_library()
    load_all(library)
    library.begin("b", "bob", BEGIN, 0.0)
    with pytest.raises(PermissionDeniedError):
        library.drop("bob", DIGEST, of_others=False)
    assert library.drop("bob", DIGEST, of_others=True).n_bytes > 0


def test_what_jobs_need_is_neither_dropped_nor_evicted():
    library = new_library(lambda key: key in {DIGEST, BEGIN.coupling}, cache_bytes=100)
    load_all(library)
    with pytest.raises(InUseError):
        library.drop("ann", DIGEST, of_others=True)
    other = Couplings.of(IsingModel.from_couplings(2.0 * MODEL.J))
    ref = CouplingRef(digest=other.digest)
    library.keep(ref, lower_encoded(other, ref, CAPABILITIES))
    assert library.lowering(BEGIN.coupling) is not None
    assert library.lowering(ref) is not None


# ---- what one user may have -----------------------------------------------------------------


def _loaded_by(library: CouplingStore, user: str, seed: int) -> str:
    """Load other couplings of the same size; return the digest."""
    upper = np.triu(np.random.default_rng(seed).integers(-9, 9, size=(10, 10)), k=1)
    J = (upper + upper.T).astype(np.int8)
    payload = EncodedCouplings(PAYLOAD.spec, J.reshape(-1).view(np.uint8))
    ref = CouplingRef(digest=payload.content().digest)
    library.keep(ref, lower_encoded(payload, ref, CAPABILITIES), {user})
    return ref.digest


def _held(library: CouplingStore) -> set[str]:
    return {row.digest for row in library.listing(0).couplings}


def test_a_user_keeps_no_more_couplings_than_the_quota_and_leaves_those_of_others_alone():
    probe = new_library()
    _loaded_by(probe, "ann", 0)
    size = probe.listing(0).n_bytes
    library = new_library(user_cache_bytes=2 * size)
    bens = _loaded_by(library, "ben", 1)
    both = _loaded_by(library, "ann", 2)
    assert _loaded_by(library, "ben", 2) == both
    anns = [_loaded_by(library, "ann", seed) for seed in (3, 4, 5)]
    assert _held(library) == {bens, both, anns[1], anns[2]}


def test_couplings_that_jobs_need_are_kept_beyond_the_quota():
    needed: set[str] = set()
    library = new_library(needed.__contains__, user_cache_bytes=1)
    needed.add(_loaded_by(library, "ann", 1))
    last = _loaded_by(library, "ann", 2)
    assert _held(library) == needed | {last}


def test_a_flood_of_gauges_or_of_tiny_models_drops_the_flooders_own():
    library = new_library(cache_entries=20)
    bens = _loaded_by(library, "ben", 1)
    lowered = lower_encoded(PAYLOAD, BEGIN.coupling, CAPABILITIES)
    for seed in range(100):
        ref = CouplingRef(digest=DIGEST, gauge_seed=seed)
        library.keep(ref, lowered, {"ann"})
    rows = {row.digest: row for row in library.listing(0).couplings}
    assert rows[DIGEST].fits <= 10
    for seed in range(100):
        last = _loaded_by(library, "ann", 100 + seed)
    assert {bens, last} <= _held(library)
    assert len(_held(library)) <= 12


def test_what_is_counted_is_what_it_takes():
    library = new_library()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for seed in range(200):
            _loaded_by(library, "ann", seed)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < library.listing(0).n_bytes < 4 * taken
