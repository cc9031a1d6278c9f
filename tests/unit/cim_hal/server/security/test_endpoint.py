from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import zmq

from cim_hal.errors import BindError
from cim_hal.server.security.endpoint import DEFAULT, bound, check_endpoint


@pytest.mark.parametrize(
    "endpoint",
    [DEFAULT, "tcp://localhost:5555", "tcp://[::1]:5555", "tcp://127.1.2.3:1", "ipc:///tmp/x"],
)
def test_endpoints_of_this_machine_are_allowed(endpoint):
    check_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:1", "tcp://*:1", "tcp://10.0.0.1:1", "tcp://eth0:1", "tcp://[::]:1"]
)
def test_endpoints_open_to_others_must_be_asked_for(endpoint):
    with pytest.raises(BindError, match="insecure"):
        check_endpoint(endpoint)
    check_endpoint(endpoint, insecure=True)
    check_endpoint(endpoint, keyed=True)


@pytest.mark.parametrize(
    "endpoint",
    ["", "5555", "http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:http", "tcp://:1",
     "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1", "ipc://", "inproc://x"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_even_if_insecure(endpoint):
    with pytest.raises(BindError, match="tcp://127"):
        check_endpoint(endpoint, insecure=True)


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@contextmanager
def listening(context: zmq.Context, endpoint: str) -> Iterator[str]:
    socket = context.socket(zmq.ROUTER)
    binding = ExitStack()
    try:
        yield binding.enter_context(bound(socket, endpoint))
    finally:
        socket.close(linger=0)
        time.sleep(0.05)  # libzmq closes it in a thread of its own
        binding.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cim.sock"


def test_a_second_server_at_a_path_is_refused_and_the_first_goes_on(context, path):
    with listening(context, f"ipc://{path}") as endpoint:
        assert endpoint == f"ipc://{path}"
        with pytest.raises(BindError, match="another server"), listening(context, endpoint):
            pass
        assert path.is_socket()
    with listening(context, endpoint):  # and after its end the place is free
        assert path.is_socket()


def test_only_this_user_reaches_the_socket(context, path):
    before = os.umask(0)
    try:
        with listening(context, f"ipc://{path}"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.with_name("cim.sock.lock").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


LISTENER = """
import sys, zmq
from cim_hal.server.security.endpoint import bound
with bound(zmq.Context().socket(zmq.ROUTER), sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_server_left_is_taken_over(context, path):
    endpoint = f"ipc://{path}"
    command = [sys.executable, "-c", LISTENER, endpoint]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    with pytest.raises(BindError, match="another server"), listening(context, endpoint):
        pass
    process.kill()
    process.communicate()
    assert path.is_socket()  # stale
    with listening(context, endpoint):
        assert path.is_socket()


def test_a_program_that_knows_no_lock_file_is_seen(context, path):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(BindError, match="another program"), listening(context, f"ipc://{path}"):
            pass
        assert path.is_socket()


def test_a_file_that_is_no_socket_is_not_deleted(context, path):
    path.write_text("my thesis")
    with pytest.raises(BindError, match="not a socket"), listening(context, f"ipc://{path}"):
        pass
    assert path.read_text() == "my thesis"


def test_a_path_in_no_folder_is_refused(context, path):
    with pytest.raises(BindError, match="No such file"), listening(context, f"ipc://{path}/x/y"):
        pass


@pytest.mark.parametrize("endpoint", ["ipc://*", "ipc://@cim-hal-test-of-endpoints"])
def test_sockets_without_a_file_of_ours_need_no_lock(context, endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with listening(context, endpoint) as found:
        assert found.startswith("ipc://")
    assert not list(tmp_path.iterdir())
