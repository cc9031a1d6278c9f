"""Couplings from a model to a server, sent once, and where they changed only what did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from cim_hal.client.steps import Compute
from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.couplings.content import Couplings, encode_change, smallest
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    ChunkTaken,
    CommitCouplings,
    CouplingChunk,
    CouplingsLoaded,
    MissingBytes,
    StatCouplings,
    UploadOpened,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.protocol.couplings.content import EncodedCouplings
    from cim_hal.protocol.wire.messages import CouplingRef, CouplingSpec

__all__ = ["Uploader"]

FITTING_S = 120.0  # a server may take this long to check and fit the largest model


@dataclass(frozen=True, eq=False)
class _Uploaded:
    """What is remembered of a model: its name and how it is sent, not its bytes."""

    digest: str
    spec: CouplingSpec


class Uploader:
    """Brings models to one server; a model it has seen costs no hash and no bytes."""

    def __init__(self, dialogue: RequestClient) -> None:
        self._dialogue = dialogue
        self._known: WeakKeyDictionary[IsingModel, _Uploaded] = WeakKeyDictionary()
        # The bytes that were hashed last: most often they are what is sent next.
        self._hashed: tuple[str, EncodedCouplings] | None = None

    def digest(self, model: IsingModel, until: float) -> Steps[str]:
        """Return the content address of `model`; hashed once, remembered while the model lives."""
        return (yield from self._know(model, until)).digest

    def load(self, model: IsingModel, ref: CouplingRef, until: float) -> Steps[CouplingsLoaded]:
        """Send `model` unless the server has it, and return what fitting did to it.

        Where it was made from a model that was sent before, what differs is sent.
        """
        delta = yield from self._delta(model, until)
        if delta is not None:
            try:
                return (yield from self._load_once(model, ref, delta, until))
            except UnknownReferenceError:  # the server has not, or not any more, what it changes
                pass
        try:
            return (yield from self._load_once(model, ref, None, until))
        except UnknownReferenceError:  # the server was started anew, or forgot a slow upload
            return (yield from self._load_once(model, ref, None, until))

    def _load_once(
        self, model: IsingModel, ref: CouplingRef, delta: EncodedCouplings | None, until: float
    ) -> Steps[Any]:
        spec = delta.spec if delta is not None else (yield from self._know(model, until)).spec
        ask, times = self._dialogue.ask, {"work_s": FITTING_S, "until": until}
        begin = BeginCouplings(coupling=ref, spec=spec)
        answer = yield from ask(begin, CouplingsLoaded, UploadOpened, **times)
        if isinstance(answer, CouplingsLoaded):
            return answer
        data = (delta or (yield from self._payload(model, until))).data
        yield from self._send(data, answer, until)
        return (yield from ask(CommitCouplings(upload=answer.upload), CouplingsLoaded, **times))

    def _send(self, data: NDArray[np.uint8], upload: UploadOpened, until: float) -> Steps[None]:
        """Send what is missing of an upload, which is all of it unless it was begun before."""
        ranges, stat = [(0, len(data))], StatCouplings(upload=upload.upload)
        while ranges:
            if upload.received:
                told = yield from self._dialogue.ask(stat, MissingBytes, until=until)
                ranges = told.ranges
            chunks = _chunks(data, upload, ranges)
            window = upload.credit
            yield from self._dialogue.send_all(chunks, ChunkTaken, window=window, until=until)
            if not upload.received:
                return

    def _know(self, model: IsingModel, until: float) -> Steps[_Uploaded]:
        known = self._known.get(model)
        if known is None:
            digest, payload = yield from self._packed(model, until)
            known = self._known[model] = _Uploaded(digest, payload.spec)
            self._hashed = (digest, payload)
        return known

    def _payload(self, model: IsingModel, until: float) -> Steps[EncodedCouplings]:
        hashed, self._hashed = self._hashed, None
        if hashed is not None and hashed[0] == (yield from self._know(model, until)).digest:
            return hashed[1]
        return (yield from self._packed(model, until))[1]

    def _packed(self, model: IsingModel, until: float) -> Steps[tuple[str, EncodedCouplings]]:
        """Return the name of a model and the bytes to send, of the version agreed."""
        yield from self._dialogue.hello(until)
        return (yield Compute(lambda: _packed(model), n_bytes=8 * model.n_spins**2))

    def _delta(self, model: IsingModel, until: float) -> Steps[EncodedCouplings | None]:
        """Return what a model changes in one the server has seen, where that is shorter."""
        base = model.origin and model.origin.base()
        if model.origin is None or base is None or base not in self._known:
            return None
        size = n_bytes((yield from self._know(model, until)).spec)
        field = None if np.array_equal(base.h, model.h) else model.h
        delta = encode_change(self._known[base].digest, model.n_spins, model.origin.pairs, field)
        return delta if len(delta.data) < size else None


def _packed(model: IsingModel) -> tuple[str, EncodedCouplings]:
    content = Couplings.of(model)
    return content.digest, smallest(content)


def _chunks(
    data: NDArray[np.uint8], upload: UploadOpened, ranges: Iterable[tuple[int, int]]
) -> Iterator[tuple[CouplingChunk, NDArray[np.uint8]]]:
    size = upload.chunk_bytes
    for start, stop in ranges:
        for offset in range(start, stop, size):
            piece = data[offset : min(offset + size, stop)]
            yield CouplingChunk(upload=upload.upload, offset=offset), piece
