"""The three transports to a machine agree bit for bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from cim_machines import Adjustable, Annealer, Random

from cim_hal import (
    IsingModel,
    LoopbackTransport,
    PumpSchedule,
    TraceRequest,
    open_device,
    spawn_server,
)
from cim_hal.protocol.wire.limits import Limits


def _glass(n_spins: int, seed: int = 0) -> IsingModel:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n_spins, n_spins)), k=1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n_spins))


def _sparse(n_spins: int) -> IsingModel:
    upper = sp.triu(sp.random_array((n_spins, n_spins), density=0.05, rng=3), k=1)
    return IsingModel.from_couplings(sp.csr_array(upper + upper.T))


@pytest.mark.parametrize("model", [_glass(31), _sparse(60)], ids=["dense", "sparse"])
def test_local_loopback_and_zeromq_give_the_same_bits(model, serving, tmp_path):
    schedule = PumpSchedule.through([0.0, 2.0, 1.0], round_trips=15)
    with serving(Annealer()) as tcp, serving(Annealer(), endpoint=f"ipc://{tmp_path}/s") as ipc:
        found = []
        for target in (Annealer(), LoopbackTransport(Annealer()), tcp, ipc):
            with open_device(target) as device:
                found.append(
                    device.sample(model, schedule, n_runs=9, seed=5, coupling_bits=6, gauge_seed=2)
                )
    first, *others = found
    for other in others:
        for name in ("spins", "energies", "amplitudes"):
            np.testing.assert_array_equal(getattr(other, name), getattr(first, name))
        assert other.record.coupling == first.record.coupling
        assert other.record.lowering == first.record.lowering


def test_traces_settings_and_notes_are_the_same_on_every_transport(serving, tmp_path):
    model, found, described = _glass(31), [], []
    asked = {"settings": {"walk.width": 0.3, "flips": 3}, "trace": TraceRequest(every=4, runs=5)}
    with serving(Adjustable()) as tcp, serving(Adjustable(), endpoint=f"ipc://{tmp_path}/s") as ipc:
        for target in (Adjustable(), LoopbackTransport(Adjustable()), tcp, ipc):
            with open_device(target) as device:
                described.append(device.capabilities)
                found.append(device.sample(model, n_runs=9, seed=5, gauge_seed=2, **asked))
    assert all(capabilities == Adjustable().describe() for capabilities in described)
    first, *others = found
    assert first.record.settings == asked["settings"]
    assert first.trace.amplitudes.shape == (5, 5, 31)
    for other in others:
        for name in ("round_trips", "pump", "amplitudes"):
            ours, theirs = getattr(first.trace, name), getattr(other.trace, name)
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(first.trace.energies(model), other.trace.energies(model))
        assert (other.record.settings, other.record.notes) == (
            first.record.settings,
            first.record.notes,
        )


def test_a_trace_of_many_mebibytes_arrives_whole(serving):
    model, trace, found = _glass(1001), TraceRequest(every=2, runs=300), []
    with serving(Adjustable()) as endpoint:
        for target in (Adjustable(), endpoint):
            with open_device(target) as device:
                found.append(device.sample(model, n_runs=300, seed=2, trace=trace).trace)
    assert found[0].amplitudes.nbytes > 10 * 2**20
    np.testing.assert_array_equal(found[0].amplitudes, found[1].amplitudes)


def test_the_emulator_gives_the_same_bits_in_this_process_and_in_its_own():
    model = _glass(12)
    asked = {"settings": {"coupling_gain": 0.6}, "trace": TraceRequest(every=100, runs=3)}
    with open_device("emulator") as device:
        here, known = device.sample(model, n_runs=4, seed=1, **asked), device.capabilities
    with spawn_server("emulator") as server, open_device(server.endpoint) as device:
        there = device.sample(model, n_runs=4, seed=1, **asked)
        assert device.capabilities == known
    np.testing.assert_array_equal(here.spins, there.spins)
    np.testing.assert_array_equal(here.amplitudes, there.amplitudes)
    np.testing.assert_array_equal(here.trace.amplitudes, there.trace.amplitudes)


def test_results_of_many_mebibytes_arrive_whole(serving):
    model = _glass(1001)
    with serving(Random()) as endpoint:
        found = []
        for target in (Random(), endpoint):
            with open_device(target) as device:
                found.append(device.sample(model, n_runs=1500, seed=2))
    assert found[0].amplitudes.nbytes > 5 * 2**20
    np.testing.assert_array_equal(found[0].amplitudes, found[1].amplitudes)
    np.testing.assert_array_equal(found[0].spins, found[1].spins)


@pytest.mark.parametrize("chunk_bytes", [50_000, 2**20])
def test_uploads_larger_than_a_chunk_arrive_whole(serving, chunk_bytes):
    model = _glass(600)
    with (
        serving(Random(), limits=Limits(chunk_bytes=chunk_bytes)) as endpoint,
        open_device(endpoint) as device,
    ):
        report = device.load(model).report
        assert report.machine_spins == 601
        assert report.max_error == 0.0


def test_two_clients_at_once_get_their_own_results(serving):
    models = {seed: _glass(40, seed) for seed in range(4)}
    with open_device(Annealer()) as device:
        expected = {s: device.sample(m, n_runs=5, seed=s).spins for s, m in models.items()}
    found: dict[int, np.ndarray] = {}

    def use(endpoint: str, seed: int) -> None:
        with open_device(endpoint) as device:
            for _ in range(3):
                found[seed] = device.sample(models[seed], n_runs=5, seed=seed).spins

    with serving(Annealer()) as endpoint:
        threads = [threading.Thread(target=use, args=[endpoint, seed]) for seed in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, spins in expected.items():
        np.testing.assert_array_equal(found[seed], spins)


def test_threads_may_share_a_session(serving):
    model, found = _glass(30), {}
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        reference = {seed: device.sample(model, n_runs=3, seed=seed) for seed in range(6)}

        def use(seed: int) -> None:
            found[seed] = device.sample(model, n_runs=3, seed=seed)

        threads = [threading.Thread(target=use, args=[seed]) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, samples in reference.items():
        np.testing.assert_array_equal(found[seed].amplitudes, samples.amplitudes)
