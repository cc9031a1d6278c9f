from __future__ import annotations

import pytest

from cim_hal.errors import BindError
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint


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
