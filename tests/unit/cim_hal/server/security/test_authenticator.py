"""The zap_socket itself: requests as libzmq would make them (ZAP, RFC 27)."""

from __future__ import annotations

import pytest
import zmq
from zmq.utils import z85

from cim_hal.key_files import create_key, read_pair
from cim_hal.server.security.authenticator import DOMAIN, ENDPOINT, Authenticator, Client, authorize

PUBLIC = zmq.curve_keypair()[0]
GOOD = [b"1.0", b"7", DOMAIN, b"10.0.0.1", b"", b"CURVE", z85.decode(PUBLIC)]


@pytest.fixture
def ask(tmp_path):
    secret, _ = create_key("server", tmp_path)
    authorize(tmp_path / "a.toml", Client(name="alice", key=PUBLIC.decode(), role="user"))
    authenticator = Authenticator(read_pair(secret), tmp_path / "a.toml")
    with (
        zmq.Context() as context,
        authenticator.bind_zap(context) as zap_socket,
        context.socket(zmq.REQ) as libzmq,
    ):
        libzmq.connect(ENDPOINT)

        def ask(frames: list[bytes]) -> list[bytes]:
            libzmq.send_multipart(frames)
            authenticator.answer(zap_socket)
            return libzmq.recv_multipart()

        yield ask


def test_a_known_key_enters_and_is_its_own_user_id(ask):
    assert ask(GOOD) == [b"1.0", b"7", b"200", b"OK", PUBLIC, b""]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b"1.1"),
        (2, b""),
        (2, b"*"),
        (2, DOMAIN + b"2"),
        (5, b"NULL"),
        (5, b"PLAIN"),
        (6, b"\0" * 32),
        (6, z85.decode(PUBLIC)[:-1]),
        (6, b""),
    ],
    ids=["version", "no domain", "any domain", "domain", "null", "plain", "key", "short", "no key"],
)
def test_anything_else_does_not(ask, place, value):
    frames = [*GOOD]
    frames[place] = value
    assert ask(frames)[2] == b"400"


def test_a_request_of_another_shape_does_not_enter_either(ask):
    assert ask([b"1.0"])[2] == b"400"
    assert ask(GOOD[:-1])[2] == b"400"
    assert ask([*GOOD, b""])[2] == b"400"
    assert ask(GOOD)[2] == b"200"
