from __future__ import annotations

import itertools

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import IsingModel
from cim_hal.errors import CapabilityError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings import Payload, prepare
from cim_hal.protocol.effects import Prepare
from cim_hal.protocol.library import Library, Store
from cim_hal.protocol.limits import Limits
from cim_hal.protocol.messages import (
    BeginCouplings,
    CouplingChunk,
    CouplingRef,
    CouplingsLoaded,
    CouplingSpec,
    UploadOpened,
)

CAPABILITIES = Annealer().describe()
PAYLOAD = Payload.of(IsingModel.from_couplings(np.ones((10, 10)) - np.eye(10)))
BEGIN = BeginCouplings(coupling=CouplingRef(digest=PAYLOAD.digest()), spec=PAYLOAD.spec)


def _library(**limits: int | float) -> Library:
    numbers = itertools.count()
    return Library(CAPABILITIES, Limits(chunk_bytes=40, **limits), lambda: f"{next(numbers):032x}")


def _send(library: Library, *, session: str = "a", now: float = 0.0) -> Prepare:
    opened = library.begin(session, BEGIN, now)
    assert isinstance(opened, UploadOpened)
    for offset in (80, 0, 40, 0):  # any order, and twice
        piece = PAYLOAD.data[offset : offset + 40]
        taken = library.chunk(
            session, CouplingChunk(upload=opened.upload, offset=offset), piece, now
        )
    assert taken.received == 100
    task = library.commit(session, opened.upload, now)
    assert isinstance(task, Prepare)
    return task


def _load(library: Library) -> CouplingsLoaded:
    task = _send(library)
    return library.keep(task.coupling, prepare(task.source, task.coupling, CAPABILITIES))


def test_chunks_in_any_order_make_the_model():
    library = _library()
    loaded = _load(library)
    np.testing.assert_array_equal(
        library.lowering(loaded.coupling).coupling, np.ones((10, 10)) - np.eye(10)
    )


def test_what_is_loaded_is_not_sent_again_by_anyone():
    library = _library()
    loaded = _load(library)
    assert library.begin("another", BEGIN, 1.0) == loaded


def test_other_bits_of_a_known_model_need_no_upload():
    library = _library()
    _load(library)
    ref = CouplingRef(digest=PAYLOAD.digest(), bits=4)
    task = library.begin("a", BeginCouplings(coupling=ref, spec=PAYLOAD.spec), 1.0)
    assert isinstance(task, Prepare)
    assert isinstance(task.source, IsingModel)


def test_a_commit_sent_twice_is_answered_twice():
    library = _library()
    task = _send(library)
    upload = library.begin("a", BEGIN, 0.0)
    loaded = library.keep(task.coupling, prepare(task.source, task.coupling, CAPABILITIES))
    assert isinstance(upload, UploadOpened)
    assert library.commit("a", upload.upload, 0.0) == loaded


def test_a_finished_upload_gives_back_its_memory_and_its_place():
    library = _library(max_uploads=1)
    task = _send(library)
    library.keep(task.coupling, prepare(task.source, task.coupling, CAPABILITIES))
    other = Payload.of(IsingModel.from_couplings([[0, 2.0], [2.0, 0]]))
    again = BeginCouplings(coupling=CouplingRef(digest=other.digest()), spec=other.spec)
    assert isinstance(library.begin("a", again, 0.0), UploadOpened)


def test_uploads_that_are_done_take_no_room():
    library = _library(max_uploads=1, cache_bytes=1000)
    other = Payload.of(IsingModel.from_couplings(2.0 * (np.ones((10, 10)) - np.eye(10))))
    begin = BeginCouplings(coupling=CouplingRef(digest=other.digest()), spec=other.spec)
    _load(library)
    assert isinstance(library.begin("a", begin, 0.0), UploadOpened)


@pytest.mark.parametrize(("offset", "size"), [(1, 40), (40, 39), (80, 40), (120, 1), (100, 0)])
def test_a_chunk_that_does_not_belong_is_refused(offset, size):
    library = _library()
    upload = library.begin("a", BEGIN, 0.0)
    chunk = CouplingChunk(upload=upload.upload, offset=offset)
    with pytest.raises(RemoteProtocolError):
        library.chunk("a", chunk, np.zeros(size, np.uint8), 0.0)


def test_a_commit_with_chunks_missing_is_refused():
    library = _library()
    upload = library.begin("a", BEGIN, 0.0)
    with pytest.raises(RemoteProtocolError, match="lacks 100 bytes"):
        library.commit("a", upload.upload, 0.0)


@pytest.mark.parametrize("forget", ["session", "time"])
def test_an_upload_is_dropped_with_its_session_or_after_silence(forget):
    library = _library(upload_s=60.0)
    upload = library.begin("a", BEGIN, 0.0)
    if forget == "session":
        library.forget_session("a")
    else:
        library.tick(61.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("a", upload.upload, 61.0)


def test_the_upload_of_another_session_is_out_of_reach():
    library = _library()
    upload = library.begin("a", BEGIN, 0.0)
    with pytest.raises(UnknownReferenceError):
        library.commit("b", upload.upload, 0.0)


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
        _library().begin("a", begin, 0.0)
    assert caught.value.details["what"] == what


def test_uploads_under_way_are_bounded_in_number_and_bytes():
    crowded = _library(max_uploads=1)
    crowded.begin("a", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="max_uploads"):
        crowded.begin("b", BEGIN, 0.0)
    small = _library(cache_bytes=150)
    small.begin("a", BEGIN, 0.0)
    with pytest.raises(CapabilityError, match="cache_bytes"):
        small.begin("b", BEGIN, 0.0)


def test_a_begin_sent_twice_is_one_upload():
    library = _library(max_uploads=1)
    assert library.begin("a", BEGIN, 0.0) == library.begin("a", BEGIN, 1.0)


def test_couplings_that_were_dropped_are_asked_for_again():
    with pytest.raises(UnknownReferenceError) as caught:
        _library().lowering(CouplingRef(digest=PAYLOAD.digest()))
    assert caught.value.details["kind"] == "coupling"


def test_the_store_drops_the_least_recently_used_and_keeps_the_newest():
    store = Store(10)
    for name in "abc":
        store.put(name, name.upper(), 4)
    assert store.get("a") is None
    assert store.get("b") == "B"
    store.put("d", "D", 4)
    assert store.get("c") is None
    assert store.get("b") == "B"
    store.put("e", "E", 100)
    assert len(store) == 1
    assert store.get("e") == "E"
