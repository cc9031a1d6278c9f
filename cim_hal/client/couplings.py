"""Couplings from a model to a server, sent once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.couplings import Payload
from cim_hal.protocol.messages import (
    BeginCouplings,
    ChunkTaken,
    CommitCouplings,
    CouplingChunk,
    CouplingsLoaded,
    UploadOpened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cim_hal.client.connection import Connection
    from cim_hal.model.ising import IsingModel
    from cim_hal.protocol.messages import CouplingRef, CouplingSpec

__all__ = ["Uploader"]

FITTING_S = 120.0  # a server may take this long to check and fit the largest model


@dataclass(frozen=True)
class _Content:
    spec: CouplingSpec
    digest: str


class Uploader:
    """Brings models to one server; a model it has seen costs no hash and no bytes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._contents: WeakKeyDictionary[IsingModel, _Content] = WeakKeyDictionary()
        # The bytes that were hashed last: most often they are what is sent next.
        self._hashed: tuple[str, Payload] | None = None

    def digest(self, model: IsingModel) -> str:
        """Return the content address of `model`; hashed once, remembered while the model lives."""
        return self._content(model).digest

    def load(self, model: IsingModel, ref: CouplingRef) -> CouplingsLoaded:
        """Send `model` unless the server has it, and return what fitting did to it."""
        try:
            return self._load_once(model, ref)
        except UnknownReferenceError:  # the server was started anew, or forgot a slow upload
            return self._load_once(model, ref)

    def _load_once(self, model: IsingModel, ref: CouplingRef) -> CouplingsLoaded:
        begin = BeginCouplings(coupling=ref, spec=self._content(model).spec)
        answer = self._connection.ask(begin, CouplingsLoaded, UploadOpened, wait_s=FITTING_S)
        if isinstance(answer, CouplingsLoaded):
            return answer
        chunks = _chunks(self._payload(model).data, answer)
        self._connection.send_all(chunks, ChunkTaken, window=answer.credit)
        commit = CommitCouplings(upload=answer.upload)
        return self._connection.ask(commit, CouplingsLoaded, wait_s=FITTING_S)

    def _content(self, model: IsingModel) -> _Content:
        content = self._contents.get(model)
        if content is None:
            payload = Payload.of(model)
            content = self._contents[model] = _Content(payload.spec, payload.digest())
            self._hashed = (content.digest, payload)
        return content

    def _payload(self, model: IsingModel) -> Payload:
        hashed, self._hashed = self._hashed, None
        if hashed is not None and hashed[0] == self._content(model).digest:
            return hashed[1]
        return Payload.of(model)


def _chunks(
    data: NDArray[np.uint8], upload: UploadOpened
) -> Iterator[tuple[CouplingChunk, NDArray[np.uint8]]]:
    size = upload.chunk_bytes
    for offset in range(0, len(data), size):
        piece = data[offset : offset + size]
        yield CouplingChunk(upload=upload.upload, offset=offset), piece
