"""Uploads under way: bytes that come in chunks, in any order, over any connection of a user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CapabilityError, ModelError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings.content import EncodedCouplings, Hasher
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.sharing.sessions import check_quota

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.wire import messages
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["MAX_RANGES", "Upload", "Uploads", "check_base"]

MAX_RANGES = 1000  # of missing bytes, told in one answer


@dataclass(eq=False)
class Upload:
    """Bytes that come for one user.

    `payload` is None once the couplings are loaded; `base` is what a delta changes, held whatever
    becomes of it in the store.
    """

    token: str
    session: str
    user: str
    coupling: messages.CouplingRef
    spec: messages.CouplingSpec
    payload: EncodedCouplings | None
    base: Couplings | None
    n_bytes: int
    touched: float
    offsets: set[int] = field(default_factory=set)
    received: int = 0
    n_hashed: int = 0

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
    """All uploads of a server."""

    def __init__(self, limits: Limits, new_token: Callable[[], str]) -> None:
        self._limits = limits
        self._new_token = new_token
        self._uploads: dict[str, Upload] = {}

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
        for upload in self._uploads.values():
            same = (upload.user, upload.coupling, upload.spec) == (user, coupling, spec)
            if same and upload.payload is not None:
                upload.session, upload.touched = session, now
                return upload
        size = n_bytes(spec)
        self._check(size)
        self._check_quota(user)
        payload = EncodedCouplings(spec, np.empty(size, dtype=np.uint8), Hasher(spec))
        token = self._new_token()
        upload = Upload(token, session, user, coupling, spec, payload, base, size, now)
        self._uploads[token] = upload
        return upload

    def get(self, user: str, token: str, now: float) -> Upload:
        """Return an upload of a user; `UnknownReferenceError` if there is none, or another's."""
        found = self._uploads.get(token)
        if found is None or found.user != user:
            raise UnknownReferenceError("the server does not know that upload", kind="upload")
        found.touched = now
        return found

    def take(self, user: str, chunk: messages.CouplingChunk, data: NDArray[Any], now: float) -> int:
        """Take a chunk and return the bytes that have come in all; see `Upload.take`."""
        upload = self.get(user, chunk.upload, now)
        upload.take(chunk.offset, data, self._limits.chunk_bytes)
        return upload.received

    def finish(self, coupling: messages.CouplingRef) -> None:
        """Give back the memory of what is loaded; a commit that is sent again is answered."""
        for upload in self._uploads.values():
            if upload.coupling == coupling:
                upload.payload = upload.base = None

    def discard(self, payload: object) -> None:
        """Forget the upload of bytes that are no couplings, so that it can begin afresh."""
        self._uploads = {k: u for k, u in self._uploads.items() if u.payload is not payload}

    def forget_session(self, session: str) -> None:
        """Drop the uploads that a session was the last to touch."""
        self._uploads = {k: u for k, u in self._uploads.items() if u.session != session}

    def tick(self, now: float) -> None:
        """Drop uploads that nobody continued."""
        oldest = now - self._limits.upload_s
        self._uploads = {k: u for k, u in self._uploads.items() if u.touched >= oldest}

    def _check(self, size: int) -> None:
        under_way = [upload for upload in self._uploads.values() if upload.payload is not None]
        if len(under_way) >= self._limits.max_uploads:
            needs, available = len(under_way) + 1, self._limits.max_uploads
            raise CapabilityError("max_uploads", required=needs, available=available)
        total = size + sum(upload.n_bytes for upload in under_way)
        if total > self._limits.cache_bytes:
            raise CapabilityError("cache_bytes", required=total, available=self._limits.cache_bytes)

    def _check_quota(self, user: str) -> None:
        own = [u for u in self._uploads.values() if u.user == user and u.payload is not None]
        check_quota(
            user,
            "user_uploads",
            used=len(own) + 1,
            available=self._limits.user_uploads,
            hint="end those that are under way, or let them be forgotten",
        )


def check_base(spec: messages.CouplingSpec, base: Couplings | None) -> None:
    """Refuse a delta of couplings that are not here, or of another size."""
    if base is None:
        raise UnknownReferenceError(
            f"the server does not hold the couplings {spec.base[:19]}… that are to be changed",
            hint="upload the changed couplings whole",
            kind="base",
        )
    if base.n_spins != spec.n_spins:
        raise ModelError(f"the delta has {spec.n_spins} spins, its base has {base.n_spins}")
