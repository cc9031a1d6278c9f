"""The couplings a server holds: uploads under way, and a bounded store of what is loaded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cim_hal.errors import CapabilityError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.couplings import Payload, n_bytes, stored_bytes
from cim_hal.protocol.effects import Prepare
from cim_hal.protocol.messages import ChunkTaken, CouplingsLoaded, UploadOpened

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.model.ising import IsingModel
    from cim_hal.protocol.couplings import Prepared
    from cim_hal.protocol.limits import Limits
    from cim_hal.protocol.messages import BeginCouplings, CouplingChunk, CouplingRef, CouplingSpec

__all__ = ["Library", "Store"]

Answer: TypeAlias = CouplingsLoaded | UploadOpened | Prepare


class Store:
    """Values by key, bounded in bytes; the least recently used go first, the newest stays."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keep `value`, which takes `size` bytes."""
        self._n_bytes += size - self._entries.pop(key, (None, 0))[1]
        self._entries[key] = (value, size)
        while self._n_bytes > self._max_bytes and len(self._entries) > 1:
            self._n_bytes -= self._entries.popitem(last=False)[1][1]

    def get(self, key: Any) -> Any | None:
        """Return the value, as the most recently used; None where there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]


@dataclass(eq=False)
class _Upload:
    session: str
    coupling: CouplingRef
    payload: Payload | None  # None once the couplings are loaded
    n_bytes: int
    touched: float
    offsets: set[int] = field(default_factory=set)
    received: int = 0


class Library:
    """What a server knows of couplings. Its methods answer a message each, or ask for work."""

    def __init__(
        self, capabilities: Capabilities, limits: Limits, new_token: Callable[[], str]
    ) -> None:
        self._capabilities = capabilities
        self._limits = limits
        self._new_token = new_token
        self._uploads: dict[str, _Upload] = {}
        self._store = Store(limits.cache_bytes)

    def begin(self, session: str, request: BeginCouplings, now: float) -> Answer:
        """Answer that the couplings are here, ask to fit them again, or open an upload.

        Raises
        ------
        CapabilityError
            They are too large; nothing was sent yet.
        """
        ref, spec = request.coupling, request.spec
        self._check_size(spec)
        model: IsingModel | None = self._store.get(ref.digest)
        lowering: Lowering | None = self._store.get(ref)
        if lowering is not None:
            return CouplingsLoaded(coupling=ref, report=lowering.report)
        if model is not None:
            return Prepare(self._new_token(), ref, model)
        upload = self._opened(session, request, now)
        if upload is None:
            self._check_uploads(n_bytes(spec))
            upload = self._new_token()
            payload = Payload(spec, np.zeros(n_bytes(spec), dtype=np.uint8))
            self._uploads[upload] = _Upload(session, ref, payload, len(payload.data), now)
        return UploadOpened(
            upload=upload, chunk_bytes=self._limits.chunk_bytes, credit=self._limits.credit
        )

    def chunk(
        self, session: str, request: CouplingChunk, data: NDArray[Any], now: float
    ) -> ChunkTaken:
        """Take a piece of an upload.

        Raises
        ------
        RemoteProtocolError
            It is not the piece that belongs at its offset.
        UnknownReferenceError
            There is no such upload.
        """
        upload = self._upload(session, request.upload, now)
        offset, size, total = request.offset, self._limits.chunk_bytes, upload.n_bytes
        expected = min(size, total - offset)
        if offset % size or data.dtype != np.uint8 or data.shape != (expected,) or expected < 1:
            raise RemoteProtocolError(
                f"a chunk of {data.dtype} {data.shape} at {offset} does not belong to an upload "
                f"of {total} bytes in chunks of {size}"
            )
        if upload.payload is not None and offset not in upload.offsets:
            upload.payload.data[offset : offset + expected] = data
            upload.offsets.add(offset)
            upload.received += expected
        return ChunkTaken(upload=request.upload, received=upload.received)

    def commit(self, session: str, upload_id: str, now: float) -> Answer:
        """Ask for a complete upload to be prepared; answer at once where that is done.

        Raises
        ------
        RemoteProtocolError
            Chunks are missing.
        """
        upload = self._upload(session, upload_id, now)
        lowering: Lowering | None = self._store.get(upload.coupling)
        if lowering is not None:
            return CouplingsLoaded(coupling=upload.coupling, report=lowering.report)
        if upload.payload is None:
            raise UnknownReferenceError("the couplings were dropped", kind="coupling")
        missing = upload.n_bytes - upload.received
        if missing:
            raise RemoteProtocolError(f"the upload lacks {missing} bytes")
        return Prepare(self._new_token(), upload.coupling, upload.payload)

    def keep(self, ref: CouplingRef, prepared: Prepared) -> CouplingsLoaded:
        """Keep what was prepared, for all sessions.

        Uploads of it are done: their bytes go, and a commit that is sent again is answered.
        """
        for upload in self._uploads.values():
            if upload.coupling == ref:
                upload.payload = None
        self._store.put(ref.digest, prepared.model, _size(prepared.model.J))
        self._store.put(ref, prepared.lowering, _size(prepared.lowering.coupling))
        return CouplingsLoaded(coupling=ref, report=prepared.lowering.report)

    def lowering(self, ref: CouplingRef) -> Lowering:
        """Return loaded couplings.

        Raises
        ------
        UnknownReferenceError
            They are not here, or not any more.
        """
        lowering: Lowering | None = self._store.get(ref)
        if lowering is None:
            raise UnknownReferenceError(
                f"the server does not hold the couplings {ref.digest[:19]}…",
                hint="upload them again",
                kind="coupling",
            )
        return lowering

    def forget_session(self, session: str) -> None:
        """Drop the uploads of a session."""
        self._uploads = {k: u for k, u in self._uploads.items() if u.session != session}

    def tick(self, now: float) -> None:
        """Drop uploads that nobody continued."""
        oldest = now - self._limits.upload_s
        self._uploads = {k: u for k, u in self._uploads.items() if u.touched >= oldest}

    def _opened(self, session: str, request: BeginCouplings, now: float) -> str | None:
        """Return the upload that the same request opened: its answer was lost."""
        for token, upload in self._uploads.items():
            is_same = upload.session == session and upload.coupling == request.coupling
            if is_same and upload.payload is not None and upload.payload.spec == request.spec:
                upload.touched = now
                return token
        return None

    def _upload(self, session: str, upload: str, now: float) -> _Upload:
        found = self._uploads.get(upload)
        if found is None or found.session != session:
            raise UnknownReferenceError("the server does not know that upload", kind="upload")
        found.touched = now
        return found

    def _check_size(self, spec: CouplingSpec) -> None:
        folds_field = spec.field_dtype is not None and not self._capabilities.has_field
        needs = spec.n_spins + folds_field
        available = min(self._capabilities.max_spins, self._limits.max_spins)
        if needs > available:
            hint = "the field takes one auxiliary spin" if needs - folds_field == available else ""
            raise CapabilityError("max_spins", required=needs, available=available, hint=hint)
        needs, available = stored_bytes(spec), self._limits.coupling_bytes
        if needs > available:
            raise CapabilityError("coupling_bytes", required=needs, available=available)

    def _check_uploads(self, size: int) -> None:
        under_way = [upload for upload in self._uploads.values() if upload.payload is not None]
        if len(under_way) >= self._limits.max_uploads:
            needs, available = len(under_way) + 1, self._limits.max_uploads
            raise CapabilityError("max_uploads", required=needs, available=available)
        total = size + sum(upload.n_bytes for upload in under_way)
        if total > self._limits.cache_bytes:
            raise CapabilityError("cache_bytes", required=total, available=self._limits.cache_bytes)


def _size(matrix: Any) -> int:
    if isinstance(matrix, np.ndarray):
        return matrix.nbytes
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
