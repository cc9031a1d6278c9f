"""One user's models do not keep those of another waiting."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from cim_machines import Annealer
from user_keys import make_keys

from cim_hal import IsingModel, open_device
from cim_hal.errors import QuotaError
from cim_hal.key_files import read_pair
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.security.authenticator import Authenticator

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
N_BIG, N_SPINS = 40, 800


@pytest.fixture
def keyed(tmp_path, serving):
    """A server with two users: its endpoint, and the keys of a user by name."""
    make_keys(tmp_path, {"ann": "user", "ben": "user"})
    admits = Authenticator(read_pair(tmp_path / "server.key"), tmp_path / "authorized.toml")

    def keys(name: str) -> dict:
        return {"key": tmp_path / f"{name}.key", "server_key": tmp_path / "server.pub"}

    limits = Limits(cache_entries=60, kept_jobs=40)
    with serving(Annealer(), authenticator=admits, limits=limits) as endpoint:
        yield endpoint, keys


def _glass(n: int) -> IsingModel:
    J = np.triu(np.random.default_rng(1).integers(-1, 2, (n, n)), 1)
    return IsingModel.from_couplings(J + J.T)


def test_a_small_model_waits_for_one_turn_behind_forty_big_ones(keyed):
    endpoint, keys = keyed
    big, loaded = _glass(N_SPINS), []
    with open_device(endpoint, **keys("ann")) as ann, open_device(endpoint, **keys("ben")) as ben:
        ann.load(big)

        def load(seed: int) -> None:
            ann.load(big, gauge_seed=seed)
            loaded.append(seed)

        threads = [threading.Thread(target=load, args=(seed,)) for seed in range(N_BIG)]
        for thread in threads:
            thread.start()
        while not loaded:
            threads[0].join(0.001)
        ben.load(PAIR)
        n_before = len(loaded)
        for thread in threads:
            thread.join()
        assert n_before < N_BIG * 3 // 4  # it took a few turns of the network, and one here
        assert {row.n_spins for row in ben.couplings()} == {2, N_SPINS}


def test_a_flood_of_models_and_results_of_one_user_costs_another_nothing(keyed):
    endpoint, keys = keyed
    with open_device(endpoint, **keys("ann")) as ann, open_device(endpoint, **keys("ben")) as ben:
        theirs = ben.submit(PAIR, n_runs=2, seed=1)
        theirs.wait(30.0)
        n_refused = 0
        for number in range(1, 80):
            model = IsingModel.from_couplings(np.array([[0, number], [number, 0]]) / 128)
            try:
                ann.submit(model, n_runs=1, seed=number)
            except QuotaError:
                n_refused += 1
        digests = {row.digest for row in ben.couplings()}
        assert n_refused >= 50  # 20 results are promised to ann, and no more jobs are taken
        assert theirs.result().best_energy == -1.0
        assert ben.load(PAIR).reference.digest in digests
        assert len(digests) <= 15 + 20 + 1  # half of the entries, what jobs may need, and the pair
