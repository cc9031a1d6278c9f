"""Each model is hashed once and sent once, in chunks, and is not kept alive."""

from __future__ import annotations

import numpy as np
import pytest
from cim_machines import Annealer, Exhaustive
from counting import Counting, glass

from cim_hal import CapabilityError, IsingModel, open_device
from cim_hal.client.options import Retries
from cim_hal.client.requests import RequestClient
from cim_hal.client.uploads import Uploader
from cim_hal.protocol.couplings.content import EncodedCouplings
from cim_hal.protocol.wire.limits import Limits


def test_couplings_are_uploaded_once_and_hashed_once(monkeypatch):
    hashed = []
    digest = EncodedCouplings.digest
    monkeypatch.setattr(EncodedCouplings, "digest", lambda self: hashed.append(1) or digest(self))
    transport, model = Counting(Annealer()), glass(20)
    with open_device(transport) as device:
        device.sample(model, seed=1)
        hashed.clear()
        transport.seen.clear()
        device.sample(model, seed=2)
        device.sample(model, seed=3, n_runs=2)
    assert transport.seen == ["sample", "job.wait"] * 2 + ["bye"]
    assert hashed == []


def test_an_equal_model_is_not_sent_again():
    transport = Counting(Annealer())
    with open_device(transport) as device:
        device.load(glass(20))
        device.load(glass(20))
        device.load(glass(20), coupling_bits=3)
    assert transport.seen.count("couplings.chunk") == 1
    assert transport.seen.count("couplings.begin") == 3


def test_a_model_that_is_too_large_is_refused_before_it_is_sent():
    transport = Counting(Exhaustive())
    with open_device(transport) as device, pytest.raises(CapabilityError, match="max_spins"):
        device.sample(glass(13))
    assert "couplings.chunk" not in transport.seen


def test_an_upload_goes_in_chunks():
    transport = Counting(Annealer(), Limits(chunk_bytes=100))
    with open_device(transport) as device:
        report = device.load(glass(20, field=False)).report
    assert transport.seen.count("couplings.chunk") == -(-20 * 19 // 2 * 8 // 100)
    assert report.machine_spins == 20


def test_couplings_the_server_dropped_are_sent_again():
    transport = Counting(Annealer(), Limits(cache_bytes=500))
    with open_device(transport) as device:
        for seed in (1, 2, 1):
            device.sample(glass(8, seed), seed=0)
    assert transport.seen.count("couplings.begin") == 3


def test_the_digest_memo_does_not_keep_models_alive():
    uploader = Uploader(RequestClient(timeout_s=5.0, retries=Retries()))
    uploader.digest(IsingModel.from_couplings(np.zeros((3, 3))))
    assert len(uploader._known) == 0
