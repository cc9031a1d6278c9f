"""A transport that counts what passes, and models to send on it."""

from __future__ import annotations

import numpy as np

from cim_hal import IsingModel, LocalTransport


def glass(n_spins: int, seed: int = 0, *, field: bool = True) -> IsingModel:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n_spins, n_spins)), k=1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n_spins) if field else None)


class Counting(LocalTransport):
    """Counts what passes, by type."""

    def __init__(self, driver, limits=None) -> None:
        super().__init__(driver, limits)
        self.seen: list[str] = []

    def send(self, request, mailbox):
        self.seen.append(request.body.t)
        super().send(request, mailbox)
