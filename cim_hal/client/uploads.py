"""Upload of couplings: each model is sent once, and later only what changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from cim_hal.client.options import checked, coupling_ref
from cim_hal.client.requests import Times
from cim_hal.client.runner import SessionPart, blocking
from cim_hal.errors import UnknownReferenceError
from cim_hal.model.ising import check_model
from cim_hal.protocol.couplings.content import Couplings, encode_change, smallest
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    ChunkTaken,
    CommitCouplings,
    CouplingChunk,
    CouplingListing,
    CouplingsDropped,
    CouplingsLoaded,
    DropCouplings,
    ListCouplings,
    MissingBytes,
    StatCouplings,
    UploadOpened,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import LoweringReport
    from cim_hal.protocol.couplings.content import EncodedCouplings
    from cim_hal.protocol.wire.messages import CouplingRef, CouplingSpec, HeldCouplings

__all__ = ["CouplingMethods", "Loaded", "Uploader"]

LOWERING_S = 120.0  # a server may take this long to check and lower the largest model


@dataclass(frozen=True, eq=False)
class _Uploaded:
    """What is remembered of a model: its name and how it is sent, not its bytes."""

    digest: str
    spec: CouplingSpec


@dataclass(frozen=True)
class Loaded:
    """Couplings on a machine.

    Attributes
    ----------
    reference : CouplingRef
        Content digest, bits and gauge.
    report : LoweringReport
        How they were lowered to the machine.
    """

    reference: CouplingRef
    report: LoweringReport


class CouplingMethods(SessionPart):
    """The methods of a session for couplings."""

    _uploader: Uploader

    @blocking
    def couplings(self, *, timeout_s: float | None = None) -> Steps[tuple[HeldCouplings, ...]]:
        """List the couplings that the server has cached, the most recently used first."""
        deadline = self._client.deadline(timeout_s)
        found: dict[str, HeldCouplings] = {}
        ask = ListCouplings()
        while True:
            page = yield from self._client.ask(ask, CouplingListing, deadline=deadline)
            found.update((held.digest, held) for held in page.couplings)
            if not page.cursor:
                return tuple(found.values())
            ask = ListCouplings(first=page.cursor)

    def drop_couplings(self, digest: str, *, timeout_s: float | None = None) -> int:
        """Delete cached couplings and everything derived from them.

        Returns
        -------
        int
            The number of bytes freed.

        Raises
        ------
        UnknownReferenceError
            The server does not hold them.
        InUseError
            Jobs need them.
        PermissionDeniedError
            Others loaded them too, and the role is below operator.
        """
        drop = checked(DropCouplings, digest=digest)
        return self._ask(drop, CouplingsDropped, timeout_s).n_bytes

    @blocking
    def load(
        self,
        model: IsingModel,
        *,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Steps[Loaded]:
        """Upload a model ahead of sampling; `submit` does it when needed.

        Parameters
        ----------
        model : IsingModel
        coupling_bits : int, optional
            Bits of a coupling, at most those of the machine, which are the default.
        gauge_seed : int, optional
            Seed of a random gauge; no gauge if None.
        timeout_s : float, optional
            For the whole upload.

        Raises
        ------
        CapabilityError
            The model does not fit the machine. If it is too large nothing was sent.
        """
        check_model(model)
        deadline = self._client.deadline(timeout_s)
        digest = self._uploader.digest(model)
        ref = coupling_ref(digest, bits=coupling_bits, gauge_seed=gauge_seed)
        return Loaded(ref, (yield from self._uploader.load(model, ref, deadline)).report)


class Uploader:
    """Brings models to one server; a model it has seen costs no hash and no bytes."""

    def __init__(self, client: RequestClient) -> None:
        self._client = client
        self._known: WeakKeyDictionary[IsingModel, _Uploaded] = WeakKeyDictionary()
        # The bytes that were hashed last: most often they are what is sent next.
        self._hashed: tuple[str, EncodedCouplings] | None = None

    def digest(self, model: IsingModel) -> str:
        """Return the content address of `model`; hashed once, remembered while the model lives."""
        return self._know(model).digest

    def load(self, model: IsingModel, ref: CouplingRef, deadline: float) -> Steps[CouplingsLoaded]:
        """Send `model` unless the server has it, and return how it was lowered.

        If it was made from a model that was sent before, only the difference is sent.
        """
        delta = self._delta(model)
        if delta is not None:
            try:
                return (yield from self._load_once(model, ref, delta, deadline))
            except UnknownReferenceError:  # the server does not hold the base any more
                pass
        try:
            return (yield from self._load_once(model, ref, None, deadline))
        except UnknownReferenceError:  # the server was started anew, or forgot a slow upload
            return (yield from self._load_once(model, ref, None, deadline))

    def _load_once(
        self, model: IsingModel, ref: CouplingRef, delta: EncodedCouplings | None, deadline: float
    ) -> Steps[Any]:
        spec = delta.spec if delta is not None else self._know(model).spec
        ask, times = self._client.ask, Times(work_s=LOWERING_S, deadline=deadline)
        begin = BeginCouplings(coupling=ref, spec=spec)
        answer = yield from ask(begin, CouplingsLoaded, UploadOpened, **times)
        if isinstance(answer, CouplingsLoaded):
            return answer
        data = (delta or self._payload(model)).data
        yield from self._send(data, answer, deadline)
        return (yield from ask(CommitCouplings(upload=answer.upload), CouplingsLoaded, **times))

    def _send(self, data: NDArray[np.uint8], upload: UploadOpened, deadline: float) -> Steps[None]:
        """Send what is missing of an upload, which is all of it unless it was begun before."""
        ranges, stat = [(0, len(data))], StatCouplings(upload=upload.upload)
        while ranges:
            if upload.received:
                answer = yield from self._client.ask(stat, MissingBytes, deadline=deadline)
                ranges = answer.ranges
            chunks = _chunks(data, upload, ranges)
            window = upload.credit
            yield from self._client.send_all(chunks, ChunkTaken, window=window, deadline=deadline)
            if not upload.received:
                return

    def _know(self, model: IsingModel) -> _Uploaded:
        known = self._known.get(model)
        if known is None:
            digest, payload = _packed(model)
            known = self._known[model] = _Uploaded(digest, payload.spec)
            self._hashed = (digest, payload)
        return known

    def _payload(self, model: IsingModel) -> EncodedCouplings:
        hashed, self._hashed = self._hashed, None
        if hashed is not None and hashed[0] == self._know(model).digest:
            return hashed[1]
        return _packed(model)[1]

    def _delta(self, model: IsingModel) -> EncodedCouplings | None:
        """Return how a model differs from one the server has seen; None if that is longer."""
        base = model.origin and model.origin.base()
        if model.origin is None or base is None or base not in self._known:
            return None
        size = n_bytes(self._know(model).spec)
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
