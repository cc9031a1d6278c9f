from __future__ import annotations

import pytest

from cim_hal.addresses import check_address, check_endpoint_form, check_host


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("tcp://lab:1", "lab"),
        ("tcp://[::1]:65535", "::1"),
        ("ipc:///run/cim", ""),
        ("tcp://*:9", "*"),
    ],
)
def test_an_endpoint_is_a_host_and_a_port_or_a_path(endpoint, host):
    assert check_endpoint_form(endpoint) == host


@pytest.mark.parametrize(
    "endpoint",
    ["", "lab", "tcp://", "tcp://lab", "tcp://lab:", "tcp://:5", "tcp://lab:0", "tcp://lab:65536",
     "tcp://lab:99999", "tcp://lab:-1", "tcp://lab:٣", "tcp://lab:1e3", "ipc://", "http://lab:80"],
)  # fmt: skip
def test_anything_else_is_refused_with_what_would_be_right(endpoint):
    with pytest.raises(ValueError, match="tcp://host:port"):
        check_endpoint_form(endpoint)


def test_port_0_is_for_listening():
    assert check_endpoint_form("tcp://lab:0", listening=True) == "lab"
    assert check_address("lab:0") == "lab"


@pytest.mark.parametrize(
    "text", ["", "8080", "lab", "lab:", ":80", "lab:65536", "lab:x", "a@b:1", "lab:1/x", "[::1"]
)
def test_a_page_needs_host_and_port(text):
    with pytest.raises(ValueError, match="is not an address"):
        check_address(text)


def test_a_host_that_nobody_knows_is_refused():
    for known in ("", "*", "localhost", "127.0.0.1", "::1", "lo"):
        check_host(known)
    for unknown in ("no-such-host.invalid", "256.1.1.1.1", "x" * 300, "a..b"):
        with pytest.raises(ValueError, match="there is no host"):
            check_host(unknown)
