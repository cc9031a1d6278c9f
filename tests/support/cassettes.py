"""A recorded session of one job, and how it is made and checked."""

from __future__ import annotations

import numpy as np

from cim_hal import IsingModel, open_device
from cim_hal.cassette import check
from cim_hal.client.transport.zmq import ZmqTransport

RNG = np.random.default_rng(5)
UPPER = np.triu(RNG.integers(-9, 10, (12, 12)), 1)
MODEL = IsingModel.from_couplings(UPPER + UPPER.T)


def sample(endpoint: str, *, seed: int = 3, n_runs: int = 20):
    with open_device(endpoint) as session:
        session.describe()
        return session.sample(MODEL, n_runs=n_runs, seed=seed)


def checked(cassette, endpoint: str, **options):
    transport = ZmqTransport(endpoint, **options)
    try:
        return check(cassette, transport)
    finally:
        transport.close()
