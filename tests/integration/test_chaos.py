"""The protocol under trouble: resets, black holes, and messages lost, repeated and reordered."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import Capabilities, Driver, IsingModel, PumpSchedule, Readout, open_device
from cim_hal.client import Retries
from cim_hal.errors import JobTimeoutError, TransportError
from cim_hal.key_files import create_key, read_pair, read_public
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.security.authenticator import Authenticator, Client, authorize
from cim_hal.testing import (
    Bandwidth,
    Latency,
    LimitData,
    MessageFaults,
    MessageProxy,
    ResetEvery,
    Slicer,
    TcpProxy,
    Timeout,
)

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


class Counting(Driver):
    """Normal numbers from the seed; counts how often each seed was run."""

    def __init__(self) -> None:
        self.n_run: Counter[int] = Counter()

    def describe(self) -> Capabilities:
        return Capabilities(
            name="counting",
            max_spins=1000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
        )

    def run(self, program, stop) -> Readout:
        self.n_run[program.seed] += 1
        shape = (program.n_runs, program.n_spins)
        return Readout(np.random.default_rng(program.seed).standard_normal(shape))


def _patiently(job):
    while True:
        try:
            return job.result(timeout_s=0.2)
        except JobTimeoutError:
            continue


def _run_all(session, n_jobs):
    """Amplitudes of jobs with the seeds 0, 1, 2, ..., from eight threads."""

    def sample(seed):
        return _patiently(session.submit(PAIR, n_runs=2, seed=seed)).amplitudes

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(sample, range(n_jobs)))


def _check_exactly_once(driver, found, n_jobs):
    assert driver.n_run == dict.fromkeys(range(n_jobs), 1)
    with open_device(Counting()) as device:
        np.testing.assert_array_equal(found, _run_all(device, n_jobs))


@contextmanager
def _every_trouble(endpoint, seed):
    often = MessageFaults(drop=0.01, duplicate=0.03, delay=0.02, reorder=0.03)
    resets = [ResetEvery(segments=100)]
    with (
        MessageProxy(endpoint, to_server=often, to_client=often, seed=seed) as messages,
        TcpProxy(messages.endpoint, upstream=resets, downstream=resets) as connections,
    ):
        yield connections, messages


# ---- exactly once ---------------------------------------------------------------------------


def test_no_job_is_lost_or_run_twice_while_connections_are_reset(serving):
    driver, resets = Counting(), [ResetEvery(segments=50)]
    with (
        serving(driver) as endpoint,
        TcpProxy(endpoint, upstream=resets, downstream=resets) as proxy,
        open_device(proxy.endpoint) as device,
    ):
        found = _run_all(device, 200)
    _check_exactly_once(driver, found, 200)
    assert proxy.counts["resets"] >= 10


@pytest.mark.parametrize(
    "n_jobs", [100, pytest.param(1000, marks=pytest.mark.slow)], ids=["100 jobs", "1000 jobs"]
)
def test_no_job_is_lost_or_run_twice_in_every_trouble_at_once(serving, n_jobs):
    driver = Counting()
    with (
        serving(driver) as endpoint,
        _every_trouble(endpoint, seed=1) as (connections, messages),
        open_device(connections.endpoint, retries=Retries(retry_after_s=0.4)) as device,
    ):
        found = _run_all(device, n_jobs)
    _check_exactly_once(driver, found, n_jobs)
    assert connections.counts["resets"] >= n_jobs / 50
    for kind in ("dropped", "duplicated", "delayed", "reordered"):
        assert messages.counts[kind] >= n_jobs / 50, kind


def test_an_upload_through_a_bad_line_arrives_whole(serving):
    upper = np.triu(np.random.default_rng(0).normal(size=(300, 300)), 1)
    model = IsingModel.from_couplings(upper + upper.T)
    line = [
        Latency(latency_s=0.005, jitter_s=0.005),
        Bandwidth(bytes_per_s=2e6),
        Slicer(average_size=20_000, size_variation=10_000),
        LimitData(n_bytes=150_000),  # the upload has 358 800
    ]
    with open_device(Counting()) as device:
        expected = device.load(model)
    with (
        serving(Counting(), limits=Limits(chunk_bytes=50_000)) as endpoint,
        TcpProxy(endpoint, upstream=line) as proxy,
        open_device(proxy.endpoint) as device,
    ):
        assert device.load(model) == expected
    assert proxy.counts["connections"] >= 3


def test_an_encrypted_connection_passes_and_is_made_anew_after_a_reset(serving, tmp_path):
    for name in ("server", "alice"):
        create_key(name, tmp_path)
    known, key = tmp_path / "authorized.toml", read_public(tmp_path / "alice.pub")
    authorize(known, Client(name="alice", key=key, role="user"))
    authenticator = Authenticator(read_pair(tmp_path / "server.key"), known)
    keys = {"key": tmp_path / "alice.key", "server_key": tmp_path / "server.pub"}
    driver, line = Counting(), [Slicer(average_size=50, size_variation=40)]
    with (
        serving(driver, authenticator=authenticator) as endpoint,
        TcpProxy(endpoint, upstream=line, downstream=line) as proxy,
        open_device(proxy.endpoint, **keys) as device,
    ):
        found = _run_all(device, 5)
        proxy.reset()
        found += [_patiently(device.submit(PAIR, n_runs=2, seed=5)).amplitudes]
    _check_exactly_once(driver, found, 6)


# ---- how soon -------------------------------------------------------------------------------


def test_a_reset_is_noticed_at_once_and_not_when_patience_ends(serving):
    schedule = PumpSchedule.constant(1.0, round_trips=1500)  # 1.5 s
    with (
        serving(Patient()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint) as device,
    ):
        job = device.submit(PAIR, schedule)
        timers = [threading.Timer(after_s, proxy.reset) for after_s in (0.2, 0.6, 1.0)]
        for timer in timers:
            timer.start()
        began = time.monotonic()
        assert len(job.result()) == 1  # one long poll: 10 s, and 5 s of patience
        assert time.monotonic() - began < 8.0
        for timer in timers:
            timer.join()


def test_a_session_waits_for_a_line_that_is_interrupted(serving):
    with (
        serving(Annealer()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint) as device,
    ):
        expected = device.sample(PAIR, n_runs=3, seed=1).amplitudes
        with ThreadPoolExecutor(1) as pool:
            with proxy.hold():
                held = pool.submit(device.sample, PAIR, n_runs=3, seed=1)
                time.sleep(0.3)
                assert not held.done()
            np.testing.assert_array_equal(held.result().amplitudes, expected)
            with proxy.down():
                refused = pool.submit(device.sample, PAIR, n_runs=3, seed=1)
                time.sleep(0.3)
                assert not refused.done()
            np.testing.assert_array_equal(refused.result().amplitudes, expected)


def test_a_black_hole_is_an_error_in_the_stated_time(serving):
    with serving(Annealer()) as endpoint, TcpProxy(endpoint, downstream=[Timeout()]) as proxy:
        began = time.monotonic()
        with pytest.raises(TransportError):
            open_device(proxy.endpoint, timeout_s=0.3)
        assert time.monotonic() - began < 10.0


# ---- the command ----------------------------------------------------------------------------


def test_the_command_passes_on_with_trouble_and_says_what_it_did(serving, cim_hal):
    driver = Counting()
    with serving(driver) as endpoint:
        options = ["--latency", "0.001", "--reset-every", "40", "--duplicate", "0.2"]
        process = cim_hal("chaos", "--target", endpoint, *options, "--seed", "3")
        ready = process.stdout.readline()
        assert ready.startswith("ready: chaos at tcp://127.0.0.1:")
        with open_device(ready.split()[3]) as device:
            found = _run_all(device, 50)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20.0)
    _check_exactly_once(driver, found, 50)
    assert process.returncode == 0
    assert "resets" in said
    assert "duplicated" in said


def test_a_command_that_cannot_listen_or_has_no_target_says_so(serving, run):
    with serving(Annealer()) as endpoint:
        for arguments, status in (
            (["--target", endpoint, "--listen", endpoint], 1),
            (["--target", "emulator"], 2),
            (["--target", endpoint, "--drop", "2"], 2),
        ):
            found, _, said = run("chaos", *arguments)
            assert said.startswith("error: ")
            assert found == status
