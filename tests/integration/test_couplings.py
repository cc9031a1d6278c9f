"""Couplings over real sockets: what differs is sent, what was cut off goes on."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
from cim_machines import Annealer, Patient, Random

from cim_hal import CapabilityError, IsingModel, ModelError, open_device, open_device_async
from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.errors import InUseError, TransportError, UnknownReferenceError
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.protocol.wire.limits import Limits

if TYPE_CHECKING:
    from cim_hal.protocol.wire.packet import Packet


def _glass(n_spins: int, seed: int = 0) -> IsingModel:
    upper = np.triu(np.random.default_rng(seed).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


class Counting(ZmqTransport):
    """Counts what passes, and may break off after some chunks."""

    def __init__(self, endpoint: str, *, breaks_after: int | None = None) -> None:
        super().__init__(endpoint)
        self.seen: list[str] = []
        self._breaks_after = breaks_after

    def exchange(self, request, **options):
        self._count(request)
        return super().exchange(request, **options)

    def pipeline(self, requests, **options):
        return super().pipeline(self._counted(requests), **options)

    def _counted(self, requests):
        for request in requests:
            self._count(request)
            yield request

    def _count(self, request: Packet) -> None:
        if self.seen.count("couplings.chunk") == self._breaks_after:
            raise TransportError("the cable is out")
        self.seen.append(request.body.t)


def test_an_upload_that_broke_off_goes_on_where_it_was_in_a_new_session(serving):
    model, limits = _glass(100), Limits(chunk_bytes=4096)
    n_chunks = -(-100 * 99 // 2 * 8 // 4096)
    with serving(Annealer(), limits=limits) as endpoint:
        broken = Counting(endpoint, breaks_after=6)
        with suppress(TransportError):
            device = open_device(broken)
            device.load(model)
        broken.close()
        again = Counting(endpoint)
        with open_device(again) as device:
            report = device.load(model).report
    assert report.machine_spins == 100
    assert again.seen.count("couplings.stat") == 2  # before and after
    # What was on its way when the cable went out may have come or not.
    assert n_chunks - 6 <= again.seen.count("couplings.chunk") <= n_chunks - 6 + limits.credit


@pytest.mark.parametrize("sparse", [False, True])
def test_a_changed_model_is_sent_as_what_differs_and_sampled_as_if_sent_whole(serving, sparse):
    J = _glass(200).J.copy()
    J[np.abs(J) < 2] = 0
    model = IsingModel.from_couplings(sp.csr_array(J) if sparse else J)
    changed = model.with_changes([3, 7], [150, 9], [0.25, 0.0], h=np.arange(200) / 7)
    with serving(Random()) as endpoint:
        transport = Counting(endpoint)
        with open_device(transport) as device:
            device.load(model)
            transport.seen.clear()
            loaded = device.load(changed)
            samples = device.sample(changed, n_runs=3, seed=1)
            assert loaded.reference.digest == Couplings.of(changed).digest
            assert transport.seen.count("couplings.chunk") == 1
    with serving(Random()) as endpoint, open_device(endpoint) as device:
        whole = device.load(changed)
        again = device.sample(changed, n_runs=3, seed=1)
    assert whole.report == loaded.report
    np.testing.assert_array_equal(samples.amplitudes, again.amplitudes)


def test_a_change_of_what_the_server_lost_is_sent_whole(serving):
    model = _glass(60)
    changed = model.with_changes([0], [1], [1.0])
    with serving(Annealer(), limits=Limits(cache_bytes=20_000)) as endpoint:
        transport = Counting(endpoint)
        with open_device(transport) as device:
            device.load(model)
            device.load(_glass(60, seed=1))  # pushes it out
            transport.seen.clear()
            device.load(changed)
    assert transport.seen.count("couplings.begin") == 2
    assert transport.seen.count("couplings.chunk") == 1


@pytest.mark.parametrize(
    "model", [_glass(40), IsingModel.from_couplings(sp.csr_array((4000, 4000)))]
)
def test_what_is_too_large_is_refused_before_a_byte_is_sent(serving, model):
    with serving(Annealer(), limits=Limits(coupling_bytes=8000)) as endpoint:
        transport = Counting(endpoint)
        with open_device(transport) as device, pytest.raises(CapabilityError):
            device.load(model)
    assert "couplings.chunk" not in transport.seen


@pytest.mark.parametrize("asynchronously", [False, True])
def test_what_a_server_holds_is_listed_and_dropped(serving, asynchronously):
    models = [_glass(30, seed) for seed in range(120)]  # more than one answer holds
    with serving(Annealer()) as endpoint:
        with open_device(endpoint) as device:
            digests = [device.load(model).reference.digest for model in models]
            assert [held.digest for held in device.couplings()] == digests[::-1]
            device.load(models[0], coupling_bits=4)
            first = device.couplings()[0]
            assert (first.digest, first.n_spins, first.fits) == (digests[0], 30, 2)
            if not asynchronously:
                assert device.drop_couplings(digests[0]) == first.n_bytes
        if asynchronously:
            assert asyncio.run(_drop(endpoint, digests[0])) == (120, first.n_bytes)
        with open_device(endpoint) as device:
            assert len(device.couplings()) == 119
            with pytest.raises(UnknownReferenceError):
                device.drop_couplings(digests[0])
            with pytest.raises(ModelError, match="digest"):
                device.drop_couplings("sha256:")


async def _drop(endpoint: str, digest: str) -> tuple[int, int]:
    async with open_device_async(endpoint) as device:
        return len(await device.couplings()), await device.drop_couplings(digest)


def test_what_a_job_needs_is_not_dropped_until_it_ends(serving):
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        job = device.submit(pair)
        (held,) = device.couplings()
        assert held.in_use
        with pytest.raises(InUseError):
            device.drop_couplings(held.digest)
        job.cancel()
        while device.couplings()[0].in_use:
            time.sleep(0.01)
        device.drop_couplings(held.digest)


def test_the_command_lists_and_drops(serving, run):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        digest = device.load(_glass(30)).reference.digest
        status, out, _ = run("couplings", endpoint, "list", "--json")
        (held,) = json.loads(out)
        assert (status, held["digest"], held["n_spins"]) == (0, digest, 30)
        assert digest[:23] in run("couplings", endpoint, "list")[1]
        assert run("couplings", endpoint, "drop")[0] == 2
        assert run("couplings", endpoint, "list", digest)[0] == 2
        status, _, err = run("couplings", endpoint, "drop", "sha256:x")
        assert (status, err.count("\n")) == (1, 1)
        status, out, _ = run("couplings", endpoint, "drop", digest[:15])
        assert (status, digest in out) == (0, True)
        assert device.couplings() == ()
