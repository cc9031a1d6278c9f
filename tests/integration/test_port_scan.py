"""Bytes of strangers: whatever is sent to an open port, and however, the server goes on."""

from __future__ import annotations

import itertools
import logging
import random
import socket
import sys
import time

import pytest
import zmq
from cim_machines import Annealer
from cim_port_scan import STARTS, byte_strings, knock
from user_keys import make_keys

from cim_hal import IsingModel, open_device
from cim_hal.key_files import read_pair
from cim_hal.server.security.authenticator import Authenticator

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("tcp://").removeprefix("http://").rstrip("/").rpartition(":")
    return host, int(port)


def scan(address: tuple[str, int], n: int, seed: int) -> None:
    rng = random.Random(seed)
    texts = itertools.chain(STARTS, byte_strings(seed))
    n_in = sum(knock(address, text, rng) for text in itertools.islice(texts, n))
    assert n_in > n / 2


@pytest.fixture
def authenticator(tmp_path):
    make_keys(tmp_path, {"alice": "user"})
    return Authenticator(read_pair(tmp_path / "server.key"), tmp_path / "authorized.toml")


@pytest.mark.parametrize("keyed", [False, True])
def test_a_port_scan_ends_no_server(serving, authenticator, tmp_path, caplog, keyed):
    keys = {"key": tmp_path / "alice.key", "server_key": tmp_path / "server.pub"} if keyed else {}
    options = {"authenticator": authenticator} if keyed else {}
    with serving(Annealer(), **options) as endpoint:
        with open_device(endpoint, **keys) as session:
            scan(address_of(endpoint), 600, seed=1)
            assert session.sample(PAIR, seed=1).best_energy == -1.0
        with open_device(endpoint, **keys) as session:
            assert session.sample(PAIR, seed=2).best_energy == -1.0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_old_version_of_zmtp_is_refused_at_its_greeting(serving):
    with serving(Annealer()) as endpoint:
        for start in (b"\x01\x00\x05\x00abcd", b"\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0\x00\x04abcd"):
            with socket.create_connection(address_of(endpoint), timeout=5.0) as stream:
                stream.sendall(start)
                stream.settimeout(10.0)
                try:
                    while stream.recv(64):
                        pass  # the greeting of the server, then the end
                except ConnectionResetError:
                    pass


@pytest.mark.skipif(sys.platform != "linux", reason="only there connections are counted")
def test_connections_that_finish_no_handshake_make_room_for_one_that_does(serving, monkeypatch):
    monkeypatch.setattr("cim_hal.server.security.partial_messages.MAX_CONNECTIONS", 100)
    strangers = []
    with serving(Annealer()) as endpoint:
        try:
            for number in range(300):
                stranger = socket.create_connection(address_of(endpoint), timeout=5.0)
                stranger.sendall(b"\xff\0\0\0"[: number % 5])
                strangers.append(stranger)
            began = time.monotonic()
            with open_device(endpoint, timeout_s=20.0) as session:
                session.describe()
            assert time.monotonic() - began < 10.0
        finally:
            for stranger in strangers:
                stranger.close()


def test_what_a_step_of_the_loop_raises_does_not_end_it(serving, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise zmq.ZMQError(zmq.EINVAL)

    with serving(Annealer()) as endpoint, open_device(endpoint) as session:
        guard = "cim_hal.server.security.partial_messages.PartialMessageGuard"
        for name in ("update", "check"):
            with monkeypatch.context() as patch:
                patch.setattr(f"{guard}.{name}", fail)
                session.describe()
                time.sleep(0.3)  # the loop goes round ten times a second
                session.describe()
        session.describe()
    failures = [record for record in caplog.records if "the loop goes on" in record.message]
    assert 1 <= len(failures) <= 2
