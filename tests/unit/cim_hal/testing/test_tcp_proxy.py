from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from cim_hal.errors import BindError, TargetError
from cim_hal.testing import Latency, ResetEvery, Slicer, TcpProxy, tcp_proxy


@pytest.fixture
def echo():
    """The endpoint of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=[listener])
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=[connection], daemon=True).start()


def _echo(connection):
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except ConnectionError:
            return


@contextmanager
def _connected(proxy):
    host, _, port = proxy.endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as client:
        yield client


def _receive(client, size):
    data = b""
    while len(data) < size and (more := client.recv(65536)):
        data += more
    return data


def test_bytes_go_there_and_back_unchanged_whatever_the_slices(echo):
    data = bytes(range(256)) * 40
    with (
        TcpProxy(echo, upstream=[Slicer(average_size=999, size_variation=500)]) as proxy,
        _connected(proxy) as client,
    ):
        client.sendall(data)
        assert _receive(client, len(data)) == data
        client.shutdown(socket.SHUT_WR)  # the end of the stream goes there and back as well
        assert client.recv(1) == b""
    assert proxy.counts["connections"] == 1


def test_latency_is_added_each_way(echo):
    late = [Latency(latency_s=0.05)]
    with TcpProxy(echo, upstream=late, downstream=late) as proxy, _connected(proxy) as client:
        began = time.monotonic()
        client.sendall(b"x")
        assert _receive(client, 1) == b"x"
        assert time.monotonic() - began >= 0.1


def test_a_reset_is_a_reset_and_no_orderly_end(echo):
    with (
        TcpProxy(echo, upstream=[ResetEvery(segments=2)]) as proxy,
        _connected(proxy) as client,
    ):
        client.sendall(b"x")
        assert _receive(client, 1) == b"x"
        client.sendall(b"y")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxy.counts["resets"] == 1


def test_all_connections_can_be_reset_at_once(echo):
    with TcpProxy(echo) as proxy, _connected(proxy) as one, _connected(proxy) as two:
        for client in (one, two):
            client.sendall(b"x")
            assert _receive(client, 1) == b"x"
        proxy.reset()
        for client in (one, two):
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_what_is_held_goes_on_afterwards(echo):
    with TcpProxy(echo) as proxy, _connected(proxy) as client:
        with proxy.hold():
            client.sendall(b"x")
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
        client.settimeout(5.0)
        assert _receive(client, 1) == b"x"


def test_a_proxy_that_is_down_refuses_and_comes_back_at_the_same_port(echo):
    with TcpProxy(echo) as proxy:
        before = proxy.endpoint
        with proxy.down(), pytest.raises(ConnectionRefusedError), _connected(proxy):
            pass
        assert proxy.endpoint == before
        with _connected(proxy) as client:
            client.sendall(b"x")
            assert _receive(client, 1) == b"x"


def test_a_target_that_is_not_there_is_a_reset():
    with (
        TcpProxy("tcp://127.0.0.1:1") as proxy,
        pytest.raises(ConnectionResetError),
        _connected(proxy) as client,
    ):
        client.recv(1)


def test_addresses_that_cannot_be_used_are_refused(echo):
    with pytest.raises(TargetError, match="tcp://host:port"):
        TcpProxy("ipc:///tmp/x")
    with pytest.raises(BindError, match="open to other machines"):
        TcpProxy(echo, listen="tcp://0.0.0.0:0")
    with pytest.raises(BindError, match="cannot listen"), TcpProxy(echo, listen=echo):
        pass


def test_connections_beyond_those_it_relays_are_refused(echo, monkeypatch):
    monkeypatch.setattr(tcp_proxy, "MAX_RELAYS", 2)
    with TcpProxy(echo) as proxy, ExitStack() as stack:
        first, _ = (stack.enter_context(_connected(proxy)) for _ in range(2))
        first.sendall(b"a")
        assert _receive(first, 1) == b"a"
        while proxy.counts["connections"] < 2:
            time.sleep(0.01)
        with suppress(ConnectionResetError), _connected(proxy) as third:  # in the connect, even
            assert third.recv(1) == b""
        while not proxy.counts["refused"]:
            time.sleep(0.01)
        assert proxy.counts["refused"] == 1
        first.sendall(b"b")
        assert _receive(first, 1) == b"b"
