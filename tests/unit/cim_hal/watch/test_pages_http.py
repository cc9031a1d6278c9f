from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse

import pytest

from cim_hal.errors import BindError
from cim_hal.watch.pages import MAX_CONNECTIONS, Page, PageServer, parse_address


@pytest.fixture
def address():
    pages = {"/": lambda: Page("hello"), "/big": lambda: Page("x" * 5_000_000)}
    with PageServer(("127.0.0.1", 0), pages) as server:
        host, port = server.url.removeprefix("http://").rstrip("/").split(":")
        yield host, int(port)


def _get(address, path="/", *, method="GET", **headers) -> HTTPResponse:
    connection = HTTPConnection(*address, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def _raw(address, data: bytes) -> bytes:
    with socket.create_connection(address, 5) as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: stream.recv(65536), b""))


def test_a_page_comes_with_orders_to_load_nothing(address):
    answer = _get(address)
    assert (answer.status, answer.text) == (200, "hello")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Python" not in answer.headers["Server"]
    assert _get(address, "/?since=3").status == 200


@pytest.mark.parametrize("path", ["/nothing", "/../etc/passwd", "/index.html", "/%2e%2e/"])
def test_what_is_no_page_is_not_found(address, path):
    assert _get(address, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_only_get_is_answered(address, method):
    answer = _get(address, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "LOCALHOST:9", "[::1]:8"])
def test_names_that_nobody_else_can_own_are_answered(address, host):
    assert _get(address, Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "", "cim.lab", "localhost.evil.net", "["]
)
def test_a_name_that_was_made_to_point_here_is_refused(address, host):
    answer = _get(address, Host=host)
    assert (answer.status, "hello" in answer.text) == (421, False)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_the_next_is_answered(address, data):
    answer = _raw(address, data)
    assert b"hello" not in answer
    assert b"<" not in answer  # nothing of the request, and no page
    assert _get(address).status == 200


@contextmanager
def dripping(address, n: int, *, every_s: float = 0.2) -> Iterator[list[socket.socket]]:
    """Clients that send one byte of a request after another, and never all."""
    streams = [socket.create_connection(address, 5) for _ in range(n)]
    is_over = threading.Event()

    def drip() -> None:
        for byte in itertools.chain(b"GET / HTTP/1.1\r\n", itertools.repeat(ord("x"))):
            for stream in streams:
                with suppress(OSError):
                    stream.send(bytes([byte]))
            if is_over.wait(every_s):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield streams
    finally:
        is_over.set()
        thread.join()
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("n", [MAX_CONNECTIONS, 3 * MAX_CONNECTIONS])
def test_a_page_comes_while_slow_clients_hold_all_places(address, n):
    with dripping(address, n):
        for _ in range(6):
            time.sleep(0.05)
            began = time.monotonic()
            assert _get(address).status == 200
            assert time.monotonic() - began < 4.0  # some milliseconds at best


def test_who_reads_nothing_keeps_no_place(address):
    streams = [socket.create_connection(address, 5) for _ in range(2 * MAX_CONNECTIONS)]
    for stream in streams:
        stream.sendall(b"GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert _get(address).status == 200
    for stream in streams:
        stream.close()


def test_a_request_has_a_deadline_however_busy_its_sender_is(address, monkeypatch):
    monkeypatch.setattr("cim_hal.watch.pages.TIMEOUT_S", 0.5)
    with dripping(address, 1, every_s=0.02) as (stream,):
        stream.settimeout(20.0)
        with suppress(ConnectionResetError):
            assert stream.recv(1000) == b""


def test_a_reader_who_leaves_in_the_middle_disturbs_nobody(address, capfd):
    for _ in range(3):
        with socket.create_connection(address, 5) as stream:
            stream.sendall(b"GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n")
            stream.recv(10)
    assert _get(address).status == 200
    assert capfd.readouterr() == ("", "")


def test_a_busy_port_is_an_error_of_ours(address):
    with pytest.raises(BindError, match="cannot listen"):
        PageServer(address, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9", ("::1", 9)),
    ],
)
def test_an_address_of_this_machine_is_taken(text, found):
    assert parse_address(text) == found


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "127.0.0.1", "a:b", "h:70000", "u@h:1", "h:1/x"]
)
def test_what_is_no_address_says_what_would_be(text):
    with pytest.raises(BindError, match=r"write 127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0:80", "192.0.2.1:80", "lab.example:80", "[::]:80"])
def test_an_address_that_others_reach_must_be_meant(text):
    with pytest.raises(BindError, match="open to other machines"):
        parse_address(text)
    assert parse_address(text, public=True)[1] == 80
