"""Uploads: chunks in any order, bounds, resuming, and what does not belong."""

from __future__ import annotations

import numpy as np
import pytest
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
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import IsingModel
from cim_hal.errors import CapabilityError, QuotaError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings.content import Couplings, lower_encoded
from cim_hal.protocol.couplings.uploads import MAX_DONE
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CouplingChunk,
    CouplingRef,
    UploadOpened,
)


@given(st.permutations(range(0, 100, 9)))
def test_chunks_in_any_order_have_the_digest_of_the_whole(offsets):
    library = new_library(chunk=9)
    opened = library.begin("a", "ann", BEGIN, 0.0)
    for offset in offsets:
        chunk = CouplingChunk(upload=opened.upload, offset=offset)
        library.uploads.take("ann", chunk, PAYLOAD.data[offset : offset + 9], 0.0)
    task = library.commit("ann", opened.upload, 0.0)
    assert isinstance(task, Lower)
    lower_encoded(task.source, task.coupling, CAPABILITIES)


def test_chunks_in_any_order_make_the_model():
    library = new_library()
    loaded = load_all(library)
    np.testing.assert_array_equal(
        library.lowering(loaded.coupling).coupling, np.ones((10, 10)) - np.eye(10)
    )


def test_a_commit_sent_twice_is_answered_twice():
    library = new_library()
    task = send_all(library)
    upload = library.begin("a", "ann", BEGIN, 0.0)  # the same
    loaded = library.keep(task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES))
    assert isinstance(upload, UploadOpened)
    assert library.commit("ann", upload.upload, 0.0) == loaded


def test_a_finished_upload_gives_back_its_memory_and_its_place():
    library = new_library(max_uploads=1)
    task = send_all(library)
    library.keep(task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES))
    other = Couplings.of(IsingModel.from_couplings([[0, 2.0], [2.0, 0]]))
    again = BeginCouplings(coupling=CouplingRef(digest=other.digest), spec=other.spec)
    assert isinstance(library.begin("a", "ann", again, 0.0), UploadOpened)


def test_uploads_that_are_done_take_no_room():
    library = new_library(max_uploads=1, cache_bytes=1000)
    other = Couplings.of(IsingModel.from_couplings(2.0 * MODEL.J))
    begin = BeginCouplings(coupling=CouplingRef(digest=other.digest), spec=other.spec)
    load_all(library)
    assert isinstance(library.begin("a", "ann", begin, 0.0), UploadOpened)


@pytest.mark.parametrize(("offset", "size"), [(1, 40), (40, 39), (80, 40), (120, 1), (100, 0)])
def test_a_chunk_that_does_not_belong_is_refused(offset, size):
    library = new_library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    chunk = CouplingChunk(upload=upload.upload, offset=offset)
    with pytest.raises(RemoteProtocolError):
        library.uploads.take("ann", chunk, np.zeros(size, np.uint8), 0.0)


def test_a_commit_with_chunks_missing_is_refused():
    library = new_library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(RemoteProtocolError, match="lacks 100 bytes"):
        library.commit("ann", upload.upload, 0.0)


@pytest.mark.parametrize("forget", ["session", "time"])
def test_an_upload_is_dropped_with_its_session_or_after_silence(forget):
    library = new_library(upload_s=60.0)
    upload = library.begin("a", "ann", BEGIN, 0.0)
    if forget == "session":
        library.uploads.forget_session("a")
    else:
        library.uploads.tick(61.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("ann", upload.upload, 61.0)


def test_the_upload_of_another_user_is_out_of_reach():
    library = new_library()
    upload = library.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("bob", upload.upload, 0.0)


def test_uploads_under_way_are_bounded_in_number_and_bytes():
    crowded = new_library(max_uploads=1)
    crowded.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="max_uploads"):
        crowded.begin("b", "bob", BEGIN, 0.0)
    small = new_library(cache_bytes=150)
    small.begin("a", "ann", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="cache_bytes"):
        small.begin("b", "bob", BEGIN, 0.0)


def test_a_begin_sent_twice_is_one_upload():
    library = new_library(max_uploads=1)
    assert library.begin("a", "ann", BEGIN, 0.0) == library.begin("a", "ann", BEGIN, 1.0)


def test_an_upload_that_was_cut_off_goes_on_in_another_session_of_its_user():
    library = new_library()
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
    library = new_library()
    opened = library.begin("a", "ann", BEGIN, 0.0)
    assert library.begin("b", "bob", BEGIN, 0.0).upload != opened.upload


def test_a_chunk_that_differs_from_the_one_before_is_refused():
    library = new_library()
    opened = library.begin("a", "ann", BEGIN, 0.0)
    chunk = CouplingChunk(upload=opened.upload, offset=0)
    library.uploads.take("ann", chunk, PAYLOAD.data[:40], 0.0)
    with pytest.raises(RemoteProtocolError, match="another chunk came at 0"):
        library.uploads.take("ann", chunk, 1 + PAYLOAD.data[:40], 0.0)


def _begin(bits: int) -> BeginCouplings:
    return BeginCouplings(coupling=CouplingRef(digest=DIGEST, bits=bits), spec=PAYLOAD.spec)


def test_the_uploads_of_one_user_leave_room_for_others():
    library = new_library(user_uploads=2)
    for bits in (3, 4):
        library.begin("a", "ann", _begin(bits), 0.0)
    with pytest.raises(QuotaError, match="ann would have 3, and one user may have 2") as caught:
        library.begin("a", "ann", _begin(5), 0.0)
    assert caught.value.details["what"] == "user_uploads"
    assert isinstance(library.begin("a", "ann", _begin(4), 0.0), UploadOpened)  # the same again
    assert isinstance(library.begin("b", "ben", _begin(5), 0.0), UploadOpened)


def test_the_bytes_of_uploads_of_one_user_leave_room_for_others():
    library = new_library(cache_bytes=400)  # 200 of them for a user
    for bits in (3, 4):
        library.begin("a", "ann", _begin(bits), 0.0)
    with pytest.raises(QuotaError) as caught:
        library.begin("a", "ann", _begin(5), 0.0)
    assert caught.value.details["what"] == "user_cache_bytes"
    assert isinstance(library.begin("b", "ben", _begin(5), 0.0), UploadOpened)


def test_uploads_that_are_done_are_forgotten_after_a_while_or_where_they_are_many():
    library = new_library(upload_s=60.0)
    tokens = []
    for bits in range(MAX_DONE + 1):
        opened = library.begin("a", "ann", _begin(bits), 0.0)
        library.uploads.finish(_begin(bits).coupling)
        tokens.append(opened.upload)
    with pytest.raises(UnknownReferenceError):
        library.uploads.get("ann", tokens[0], 0.0)
    assert library.uploads.get("ann", tokens[1], 50.0).payload is None
    library.uploads.tick(61.0)
    assert library.uploads.get("ann", tokens[1], 61.0).payload is None
    with pytest.raises(UnknownReferenceError):
        library.uploads.get("ann", tokens[2], 61.0)
