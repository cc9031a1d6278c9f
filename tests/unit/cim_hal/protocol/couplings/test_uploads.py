"""Uploads: chunks in any order, bounds, resuming, and what does not belong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cim_machines import Annealer
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import IsingModel
from cim_hal.errors import CapabilityError, QuotaError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, lower_encoded
from cim_hal.protocol.couplings.store import CouplingStore
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CouplingChunk,
    CouplingRef,
    CouplingsLoaded,
    CouplingSpec,
    UploadOpened,
)

CAPABILITIES = Annealer().describe()
MODEL = IsingModel.from_couplings(np.ones((10, 10)) - np.eye(10))


# 100 bytes, so that it takes three chunks.
PAYLOAD = EncodedCouplings(
    CouplingSpec(format="dense", n_spins=10, dtype="|i1"),
    MODEL.J.astype(np.int8).reshape(-1).view(np.uint8),
)


DIGEST = Couplings.of(MODEL).digest
BEGIN = BeginCouplings(coupling=CouplingRef(digest=DIGEST), spec=PAYLOAD.spec)


def _library(in_use=frozenset, chunk: int = 40, **limits: int | float) -> CouplingStore:
    numbers = itertools.count()
    bounds = Limits(chunk_bytes=chunk, **limits)
    return CouplingStore(CAPABILITIES, bounds, lambda: f"{next(numbers):032x}", in_use)


def _send(library: CouplingStore, *, session: str = "a", now: float = 0.0) -> Lower:
    opened = library.begin(session, "ann", BEGIN, now)
    assert isinstance(opened, UploadOpened)
    for offset in (80, 0, 40, 0):  # any order, and twice
        piece = PAYLOAD.data[offset : offset + 40]
        taken = library.uploads.take(
            "ann", CouplingChunk(upload=opened.upload, offset=offset), piece, now
        )
    assert taken == 100
    task = library.commit("ann", opened.upload, now)
    assert isinstance(task, Lower)
    return task


def _load(library: CouplingStore) -> CouplingsLoaded:
    task = _send(library)
    return library.keep(
        task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES), {"ann"}
    )


@given(st.permutations(range(0, 100, 9)))
def test_chunks_in_any_order_have_the_digest_of_the_whole(offsets):
    library = _library(chunk=9)
    opened = library.begin("a", "ann", BEGIN, 0.0)
    for offset in offsets:
        chunk = CouplingChunk(upload=opened.upload, offset=offset)
        library.uploads.take("ann", chunk, PAYLOAD.data[offset : offset + 9], 0.0)
    task = library.commit("ann", opened.upload, 0.0)
    assert isinstance(task, Lower)
    lower_encoded(task.source, task.coupling, CAPABILITIES)


def test_chunks_in_any_order_make_the_model():
    library = _library()
    loaded = _load(library)
    np.testing.assert_array_equal(
        library.lowering(loaded.coupling).coupling, np.ones((10, 10)) - np.eye(10)
    )


def test_a_commit_sent_twice_is_answered_twice():
    library = _library()
    task = _send(library)
    upload = library.begin("a", "ann", BEGIN, 0.0)  # the same
    loaded = library.keep(task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES))
    assert isinstance(upload, UploadOpened)
    assert library.commit("ann", upload.upload, 0.0) == loaded


def test_a_finished_upload_gives_back_its_memory_and_its_place():
    library = _library(max_uploads=1)
    task = _send(library)
    library.keep(task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES))
    other = Couplings.of(IsingModel.from_couplings([[0, 2.0], [2.0, 0]]))
    again = BeginCouplings(coupling=CouplingRef(digest=other.digest), spec=other.spec)
    assert isinstance(library.begin("a", "ann", again, 0.0), UploadOpened)


def test_uploads_that_are_done_take_no_room():
    library = _library(max_uploads=1, cache_bytes=1000)
    other = Couplings.of(IsingModel.from_couplings(2.0 * MODEL.J))
    begin = BeginCouplings(coupling=CouplingRef(digest=other.digest), spec=other.spec)
    _load(library)
    assert isinstance(library.begin("a", "ann", begin, 0.0), UploadOpened)


@pytest.mark.parametrize(("offset", "size"), [(1, 40), (40, 39), (80, 40), (120, 1), (100, 0)])
def test_a_chunk_that_does_not_belong_is_refused(offset, size):
    library = _library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    chunk = CouplingChunk(upload=upload.upload, offset=offset)
    with pytest.raises(RemoteProtocolError):
        library.uploads.take("ann", chunk, np.zeros(size, np.uint8), 0.0)


def test_a_commit_with_chunks_missing_is_refused():
    library = _library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(RemoteProtocolError, match="lacks 100 bytes"):
        library.commit("ann", upload.upload, 0.0)


@pytest.mark.parametrize("forget", ["session", "time"])
def test_an_upload_is_dropped_with_its_session_or_after_silence(forget):
    library = _library(upload_s=60.0)
    upload = library.begin("a", "ann", BEGIN, 0.0)
    if forget == "session":
        library.uploads.forget_session("a")
    else:
        library.uploads.tick(61.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("ann", upload.upload, 61.0)


def test_the_upload_of_another_user_is_out_of_reach():
    library = _library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("bob", upload.upload, 0.0)


def test_uploads_under_way_are_bounded_in_number_and_bytes():
    crowded = _library(max_uploads=1)
    crowded.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="max_uploads"):
        crowded.begin("b", "bob", BEGIN, 0.0)
    small = _library(cache_bytes=150)
    small.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="cache_bytes"):
        small.begin("b", "bob", BEGIN, 0.0)


def test_a_begin_sent_twice_is_one_upload():
    library = _library(max_uploads=1)
    assert library.begin("a", "ann", BEGIN, 0.0) == library.begin("a", "ann", BEGIN, 1.0)


def test_an_upload_that_was_cut_off_goes_on_in_another_session_of_its_user():
    library = _library()
    opened = library.begin("a", "ann", BEGIN, 0.0)
    library.uploads.take(
        "ann", CouplingChunk(upload=opened.upload, offset=40), PAYLOAD.data[40:80], 0.0
    )
    again = library.begin("b", "ann", BEGIN, 1.0)
    assert (again.upload, again.received) == (opened.upload, 40)
    assert library.uploads.get("ann", again.upload, 1.0).missing(40) == [(0, 40), (80, 100)]
    for offset in (0, 80):
        chunk = CouplingChunk(upload=again.upload, offset=offset)
        library.uploads.take("ann", chunk, PAYLOAD.data[offset : offset + 40], 1.0)
    assert library.uploads.get("ann", again.upload, 1.0).missing(40) == []
    library.uploads.forget_session("a")
    assert isinstance(library.commit("ann", again.upload, 2.0), Lower)


def test_another_user_begins_an_upload_of_his_own():
    library = _library()
    opened = library.begin("a", "ann", BEGIN, 0.0)
    assert library.begin("b", "bob", BEGIN, 0.0).upload != opened.upload


def test_a_chunk_that_differs_from_the_one_before_is_refused():
    library = _library()
    opened = library.begin("a", "ann", BEGIN, 0.0)
    chunk = CouplingChunk(upload=opened.upload, offset=0)
    library.uploads.take("ann", chunk, PAYLOAD.data[:40], 0.0)
    with pytest.raises(RemoteProtocolError, match="another chunk came at 0"):
        library.uploads.take("ann", chunk, 1 + PAYLOAD.data[:40], 0.0)


def _begin(bits: int) -> BeginCouplings:
    return BeginCouplings(coupling=CouplingRef(digest=DIGEST, bits=bits), spec=PAYLOAD.spec)


def test_the_uploads_of_one_user_leave_room_for_others():
    library = _library(user_uploads=2)
    for bits in (3, 4):
        library.begin("a", "ann", _begin(bits), 0.0)
    with pytest.raises(QuotaError, match="ann would have 3, and one user may have 2") as caught:
        library.begin("a", "ann", _begin(5), 0.0)
    assert caught.value.details["what"] == "user_uploads"
    assert isinstance(library.begin("a", "ann", _begin(4), 0.0), UploadOpened)  # the same again
    assert isinstance(library.begin("b", "ben", _begin(5), 0.0), UploadOpened)
