"""How long a call may last, and what a lost answer costs, with real sockets."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import CimError, IsingModel, PumpSchedule, Retries, TransportError, open_device
from cim_hal.errors import ConnectError, JobTimeoutError, ServerKeyError
from cim_hal.key_files import create_key, read_pair, read_public
from cim_hal.protocol.wire.codec import decode
from cim_hal.server.security.authenticator import Authenticator, Client, authorize
from cim_hal.testing import MessageProxy, TcpProxy, Toxic
from cim_hal.testing.message_proxy import TO_CLIENT

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
TICK_S = 5.0  # of a call past its deadline, on a machine ten times slower; a session waits 30 s


class Losing(MessageProxy):
    """Loses the first message of some types on the way back, and counts what passes."""

    def __init__(self, target, *types) -> None:
        super().__init__(target)
        self._types = set(types)
        self.lost: list[str] = []

    def _deliver(self, direction, name, peer, frames):
        kind = decode(frames).body.t
        if direction == TO_CLIENT and kind in self._types:
            self._types.discard(kind)
            self.lost.append(kind)
            return
        super()._deliver(direction, name, peer, frames)


CALLS = {
    "describe": lambda session: (session.describe,),
    "load": lambda session: (session.load, _glass(30)),
    "submit": lambda session: (session.submit, PAIR),
    "sample": lambda session: (session.sample, PAIR),
    "cancel": lambda session: (session.cancel, "0" * 32),
}


def _glass(n_spins):
    upper = np.triu(np.random.default_rng(n_spins).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


def _fails_in_time(call, *arguments):
    began = time.monotonic()
    with pytest.raises((TimeoutError, TransportError)):
        call(*arguments, timeout_s=0.4)
    assert 0.2 <= time.monotonic() - began <= 0.4 + TICK_S


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_call_outlasts_its_deadline_while_nothing_goes_through(serving, call):
    with (
        serving(Annealer()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint, timeout_s=30.0) as device,
    ):
        with proxy.hold():
            _fails_in_time(*call(device))
        assert device.describe().busy is False


def test_no_job_is_waited_for_longer_than_asked_while_nothing_goes_through(serving):
    with (
        serving(Patient()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint, timeout_s=30.0) as device,
    ):
        job = device.submit(PAIR, LONG)
        for call in (job.result, job.cancel):
            with proxy.hold():
                _fails_in_time(call)
        assert job.cancel().value in ("stopping", "cancelled")


def test_a_call_without_a_deadline_has_that_of_the_session(serving):
    with (
        serving(Patient()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint, timeout_s=0.5) as device,
    ):
        job = device.submit(PAIR, LONG)
        for call in (device.describe, job.cancel, lambda: job.state, lambda: device.cancel(job.id)):
            with proxy.hold():
                began = time.monotonic()
                with pytest.raises(TransportError):
                    call()
                assert time.monotonic() - began <= 0.5 + TICK_S


def test_a_sample_that_is_late_is_cancelled_and_the_machine_is_free(serving):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        with pytest.raises(JobTimeoutError, match=r"still running after 0\.\d+ s"):
            device.sample(PAIR, LONG, timeout_s=0.4)
        began = time.monotonic()
        assert len(device.sample(PAIR, PumpSchedule.constant(1.0, round_trips=1))) == 1
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("kind", ["welcome", "couplings.upload", "couplings.taken", "job.batch"])
def test_a_lost_answer_costs_the_patience_of_one_attempt(serving, kind):
    with serving(Annealer()) as endpoint, Losing(endpoint, kind) as proxy:
        began = time.monotonic()
        with open_device(proxy.endpoint, retries=Retries(retry_after_s=0.3)) as device:
            device.sample(_glass(20), n_runs=2, seed=1)
        assert 0.25 <= time.monotonic() - began <= 3.0
    assert proxy.lost == [kind]


def test_a_lost_answer_to_a_commit_costs_a_second_and_not_two_minutes(serving):
    with (
        serving(Annealer()) as endpoint,
        Losing(endpoint, "couplings.loaded") as proxy,
        open_device(proxy.endpoint) as device,
    ):
        began = time.monotonic()
        assert device.load(_glass(20)).report.machine_spins == 20
        assert 0.9 <= time.monotonic() - began <= 5.0
    assert proxy.lost == ["couplings.loaded"]


# ---- who breaks a handshake -----------------------------------------------------------------


class ResetsFirst(Toxic):
    """Resets the first connections, in the middle of the handshake."""

    def __init__(self, n) -> None:
        self.left = n

    async def send(self, piece, link, forward):
        if self.left > 0:
            self.left -= 1
            self.cut(reset=True)
        await forward(piece)

    def cut(self, *, reset):
        from cim_hal.testing.toxics import ConnectionCut

        raise ConnectionCut(reset=reset)


@contextmanager
def _keyed(serving, tmp_path):
    for name in ("server", "other", "alice"):
        create_key(name, tmp_path)
    known = tmp_path / "authorized.toml"
    authorize(known, Client(name="alice", key=read_public(tmp_path / "alice.pub"), role="user"))
    authenticator = Authenticator(read_pair(tmp_path / "server.key"), known)
    with serving(Annealer(), authenticator=authenticator) as endpoint:
        yield endpoint, {"key": tmp_path / "alice.key", "server_key": tmp_path / "server.pub"}


@pytest.mark.parametrize("n_resets", [2, 5])
def test_resets_in_a_handshake_are_not_taken_for_a_wrong_key(serving, tmp_path, n_resets):
    with (
        _keyed(serving, tmp_path) as (endpoint, keys),
        TcpProxy(endpoint, upstream=[ResetsFirst(n_resets)]) as proxy,
        open_device(proxy.endpoint, timeout_s=20.0, **keys) as device,
    ):
        assert device.describe().busy is False
    assert proxy.counts["resets"] == n_resets


def test_a_line_that_always_breaks_is_a_connection_that_is_not_made(serving, tmp_path):
    with (
        _keyed(serving, tmp_path) as (endpoint, keys),
        TcpProxy(endpoint, upstream=[ResetsFirst(10**6)]) as proxy,
        pytest.raises(ConnectError, match="nobody answers"),
    ):
        open_device(proxy.endpoint, timeout_s=2.0, **keys)


def test_a_wrong_server_key_is_called_one(serving, tmp_path):
    with _keyed(serving, tmp_path) as (endpoint, keys), pytest.raises(ServerKeyError):
        open_device(endpoint, timeout_s=20.0, **keys | {"server_key": tmp_path / "other.pub"})


# ---- the end of a session in other threads --------------------------------------------------


def test_closing_a_session_wakes_those_who_wait_in_it(serving):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, LONG)
        errors = []

        def wait():
            try:
                job.result()
            except CimError as error:  # closed, or its job cancelled by the goodbye
                errors.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        device.close()
        waiting.join(30.0)
        assert not waiting.is_alive()
        assert len(errors) == 1
