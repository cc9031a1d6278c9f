"""Couplings from a model to a server, sent once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cim_hal.client.steps import Compute
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

    from cim_hal.client.dialogue import Dialogue
    from cim_hal.client.steps import Steps
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

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._contents: WeakKeyDictionary[IsingModel, _Content] = WeakKeyDictionary()
        # The bytes that were hashed last: most often they are what is sent next.
        self._hashed: tuple[str, Payload] | None = None

    def digest(self, model: IsingModel) -> Steps[str]:
        """Return the content address of `model`; hashed once, remembered while the model lives."""
        return (yield from self._content(model)).digest

    def load(self, model: IsingModel, ref: CouplingRef, until: float) -> Steps[CouplingsLoaded]:
        """Send `model` unless the server has it, and return what fitting did to it."""
        try:
            return (yield from self._load_once(model, ref, until))
        except UnknownReferenceError:  # the server was started anew, or forgot a slow upload
            return (yield from self._load_once(model, ref, until))

    def _load_once(self, model: IsingModel, ref: CouplingRef, until: float) -> Steps[Any]:
        begin = BeginCouplings(coupling=ref, spec=(yield from self._content(model)).spec)
        expected = (CouplingsLoaded, UploadOpened)
        ask, times = self._dialogue.ask, {"work_s": FITTING_S, "until": until}
        answer = yield from ask(begin, *expected, **times)
        if isinstance(answer, CouplingsLoaded):
            return answer
        chunks = _chunks((yield from self._payload(model)).data, answer)
        send_all = self._dialogue.send_all
        yield from send_all(chunks, ChunkTaken, window=answer.credit, until=until)
        return (yield from ask(CommitCouplings(upload=answer.upload), CouplingsLoaded, **times))

    def _content(self, model: IsingModel) -> Steps[_Content]:
        content = self._contents.get(model)
        if content is None:
            payload, digest = yield Compute(lambda: _hashed(model), n_bytes=_size(model))
            content = self._contents[model] = _Content(payload.spec, digest)
            self._hashed = (digest, payload)
        return content

    def _payload(self, model: IsingModel) -> Steps[Payload]:
        hashed, self._hashed = self._hashed, None
        if hashed is not None and hashed[0] == (yield from self._content(model)).digest:
            return hashed[1]
        return (yield Compute(lambda: Payload.of(model), n_bytes=_size(model)))


def _hashed(model: IsingModel) -> tuple[Payload, str]:
    payload = Payload.of(model)
    return payload, payload.digest()


def _size(model: IsingModel) -> int:
    return 8 * model.n_spins**2


def _chunks(
    data: NDArray[np.uint8], upload: UploadOpened
) -> Iterator[tuple[CouplingChunk, NDArray[np.uint8]]]:
    size = upload.chunk_bytes
    for offset in range(0, len(data), size):
        piece = data[offset : offset + size]
        yield CouplingChunk(upload=upload.upload, offset=offset), piece
