"""Uploads under way: bytes that come in chunks, in any order, over any connection of a user."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CapabilityError, ModelError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings.content import EncodedCouplings, Hasher
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.sharing.sessions import check_quota
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.wire import messages
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages import CouplingRef

__all__ = ["MAX_RANGES", "Upload", "Uploads", "check_base"]

MAX_RANGES = 1000  # of missing bytes, told in one answer
MAX_DONE = 1000  # remembered; a client whose commit is forgotten begins anew, and is answered


@dataclass(eq=False)
class Upload:
    """Bytes that come for one user.

    `payload` is None once the couplings are loaded; `base` is what a delta changes, held whatever
    becomes of it in the store.
    """

    token: str
    session: str
    user: str
    coupling: CouplingRef
    spec: messages.CouplingSpec
    payload: EncodedCouplings | None
    base: Couplings | None
    n_bytes: int
    touched: float
    offsets: set[int] = field(default_factory=set)
    received: int = 0
    n_hashed: int = 0

    @property
    def holds(self) -> int:
        """Bytes of memory that it keeps: its own, and those of the base."""
        return self.n_bytes + (0 if self.base is None else self.base.payload.data.nbytes)

    def take(self, offset: int, data: NDArray[Any], chunk_bytes: int) -> None:
        """Take the chunk at `offset`; it must belong there, and be the same when it comes again."""
        expected = min(chunk_bytes, self.n_bytes - offset)
        belongs = offset % chunk_bytes == 0 and data.dtype == np.uint8 and expected >= 1
        if not belongs or data.shape != (expected,):
            raise RemoteProtocolError(
                f"a chunk of {data.dtype} {data.shape} at {offset} does not belong to an upload "
                f"of {self.n_bytes} bytes in chunks of {chunk_bytes}"
            )
        if self.payload is None:
            return
        place = self.payload.data[offset : offset + expected]
        if offset not in self.offsets:
            place[...] = data
            self.offsets.add(offset)
            self.received += expected
            self._hash(chunk_bytes)
        elif not np.array_equal(place, data):
            raise RemoteProtocolError(
                f"another chunk came at {offset} before", hint="send the same bytes again, or none"
            )

    def _hash(self, chunk_bytes: int) -> None:
        """Hash what has come without a gap, while the next is on its way."""
        start = self.n_hashed
        while self.n_hashed in self.offsets:
            self.n_hashed = min(self.n_hashed + chunk_bytes, self.n_bytes)
        if self.payload is not None and self.payload.hasher and self.n_hashed > start:
            self.payload.hasher.update(self.payload.data[: self.n_hashed])

    def missing(self, chunk_bytes: int) -> list[tuple[int, int]]:
        """Return the ranges of bytes, from and up to, that did not come; not all of many."""
        ranges: list[tuple[int, int]] = []
        for offset in range(0, self.n_bytes, chunk_bytes):
            if offset in self.offsets:
                continue
            stop = min(offset + chunk_bytes, self.n_bytes)
            if ranges and ranges[-1][1] == offset:
                ranges[-1] = (ranges[-1][0], stop)
            elif len(ranges) < MAX_RANGES:
                ranges.append((offset, stop))
            else:
                break
        return ranges


class Uploads:
    """All uploads of a server.

    Those under way are bounded in number and bytes, of all users and of each. Of those that are
    done so much is remembered that a commit which is sent again is answered, and not for long.
    """

    def __init__(self, limits: Limits, new_token: Callable[[], str]) -> None:
        self._limits = limits
        self._new_token = new_token
        # By token, the last touched at the end: those under way, and those that are done.
        self._open: OrderedDict[str, Upload] = OrderedDict()
        self._done: OrderedDict[str, Upload] = OrderedDict()
        self._by_coupling: dict[CouplingRef, dict[str, Upload]] = {}  # those under way
        self._counts: Counter[str] = Counter()  # of those under way, by user
        self._n_bytes: Counter[str] = Counter()

    def open(
        self,
        session: str,
        user: str,
        request: messages.BeginCouplings,
        base: Couplings | None,
        now: float,
    ) -> Upload:
        """Return the upload of these couplings that the user has begun, or a new one.

        `CapabilityError` and `QuotaError` where too many are under way, of all or of this user.
        """
        coupling, spec = request.coupling, request.spec
        for upload in self._by_coupling.get(coupling, {}).values():
            if (upload.user, upload.spec) == (user, spec):
                upload.session, upload.touched = session, now
                self._open.move_to_end(upload.token)
                return upload
        size = n_bytes(spec)
        upload = Upload(self._new_token(), session, user, coupling, spec, None, base, size, now)
        self._check(upload)
        upload.payload = EncodedCouplings(spec, np.empty(size, dtype=np.uint8), Hasher(spec))
        self._open[upload.token] = upload
        self._by_coupling.setdefault(coupling, {})[upload.token] = upload
        self._counts[user] += 1
        self._n_bytes[user] += upload.holds
        return upload

    def get(self, user: str, token: str, now: float) -> Upload:
        """Return an upload of a user; `UnknownReferenceError` if there is none, or another's."""
        uploads = self._open if token in self._open else self._done
        found = uploads.get(token)
        if found is None or found.user != user:
            raise UnknownReferenceError("the server does not know that upload", kind="upload")
        found.touched = now
        uploads.move_to_end(token)
        return found

    def take(self, user: str, chunk: messages.CouplingChunk, data: NDArray[Any], now: float) -> int:
        """Take a chunk and return the bytes that have come in all; see `Upload.take`."""
        upload = self.get(user, chunk.upload, now)
        upload.take(chunk.offset, data, self._limits.chunk_bytes)
        return upload.received

    def finish(self, coupling: CouplingRef) -> None:
        """Give back the memory of what is loaded; a commit that is sent again is answered."""
        for upload in list(self._by_coupling.get(coupling, {}).values()):
            self._close(upload)
            upload.payload = upload.base = None
            self._done[upload.token] = upload
            if len(self._done) > MAX_DONE:
                self._done.popitem(last=False)

    def discard(self, coupling: CouplingRef, payload: object) -> None:
        """Forget the upload of bytes that are no couplings, so that it can begin afresh."""
        for upload in list(self._by_coupling.get(coupling, {}).values()):
            if upload.payload is payload:
                self._close(upload)

    def forget_session(self, session: str) -> None:
        """Drop the uploads under way that a session was the last to touch."""
        for upload in [u for u in self._open.values() if u.session == session]:
            self._close(upload)

    def tick(self, now: float) -> None:
        """Drop uploads that nobody continued."""
        oldest = now - self._limits.upload_s
        while self._open and (first := next(iter(self._open.values()))).touched < oldest:
            self._close(first)
        while self._done and next(iter(self._done.values())).touched < oldest:
            self._done.popitem(last=False)

    def _close(self, upload: Upload) -> None:
        del self._open[upload.token]
        same = self._by_coupling[upload.coupling]
        del same[upload.token]
        if not same:
            del self._by_coupling[upload.coupling]
        self._n_bytes[upload.user] -= upload.holds
        self._counts[upload.user] -= 1
        if not self._counts[upload.user]:
            del self._counts[upload.user], self._n_bytes[upload.user]

    def _check(self, upload: Upload) -> None:
        limits, user = self._limits, upload.user
        needs, total = len(self._open) + 1, upload.holds + sum(self._n_bytes.values())
        if needs > limits.max_uploads:
            raise CapabilityError("max_uploads", required=needs, available=limits.max_uploads)
        if total > limits.cache_bytes:
            raise CapabilityError("cache_bytes", required=total, available=limits.cache_bytes)
        hint, own = "end those that are under way, or let them be forgotten", self._counts[user] + 1
        check_quota(user, "user_uploads", used=own, available=limits.user_uploads, hint=hint)
        if own > 1:  # one alone may be as large as any
            used, most = upload.holds + self._n_bytes[user], limits.share("cache_bytes")
            check_quota(user, "user_cache_bytes", used=used, available=most, hint=hint)


def check_base(spec: messages.CouplingSpec, base: Couplings | None) -> None:
    """Refuse a delta of couplings that are not here, or of another size."""
    if base is None:
        raise UnknownReferenceError(
            f"the server does not hold the couplings {spec.base[:19]}… that are to be changed",
            hint="upload the changed couplings whole",
            kind="base",
        )
    if base.n_spins != spec.n_spins:
        raise ModelError(
            f"the delta has {counted(spec.n_spins, 'spin')}, its base has {base.n_spins}"
        )
