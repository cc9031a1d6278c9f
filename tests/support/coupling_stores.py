"""A store of couplings, and a model of three chunks to upload to it."""

from __future__ import annotations

import itertools

import numpy as np
from cim_machines import Annealer

from cim_hal import IsingModel
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


def new_library(in_use=lambda _key: False, chunk: int = 40, **limits: int | float) -> CouplingStore:
    numbers = itertools.count()
    bounds = Limits(chunk_bytes=chunk, **limits)
    return CouplingStore(CAPABILITIES, bounds, lambda: f"{next(numbers):032x}", in_use)


def send_all(library: CouplingStore, *, session: str = "a", now: float = 0.0) -> Lower:
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


def load_all(library: CouplingStore) -> CouplingsLoaded:
    task = send_all(library)
    return library.keep(
        task.coupling, lower_encoded(task.source, task.coupling, CAPABILITIES), {"ann"}
    )
