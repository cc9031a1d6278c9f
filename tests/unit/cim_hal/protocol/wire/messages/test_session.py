from __future__ import annotations

import pytest
from pydantic import ValidationError

from cim_hal import Capabilities
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages.session import Bye, Describe, Description, Hello, Ping, Welcome
from cim_hal.protocol.wire.roles import Role

CAPABILITIES = Capabilities(name="bench", max_spins=8, coupling_bits=8)


@pytest.mark.parametrize("request_", [Hello(protocols=((1, 0), (1, 1))), Describe(), Ping(), Bye()])
def test_whoever_may_look_may_open_use_and_end_a_session(request_):
    assert request_.role is Role.OBSERVER


@pytest.mark.parametrize("protocols", [((1, 0),), ((1, 0), (256, 0)), ((1, -1), (1, 0)), ()])
def test_a_hello_has_two_versions_of_two_bytes(protocols):
    with pytest.raises(ValidationError, match="protocols"):
        Hello(protocols=protocols)


def test_a_hello_may_be_anonymous_and_a_welcome_may_not():
    assert Hello(protocols=((1, 0), (1, 1))).client == ""
    welcome = Welcome(
        protocol=(1, 1),
        server="bench",
        instance="0" * 32,
        session="1" * 32,
        limits=Limits(),
        capabilities=CAPABILITIES,
    )
    with pytest.raises(ValidationError, match="session"):
        Welcome.model_validate(welcome.model_dump() | {"session": ""})


def test_a_queue_is_no_shorter_than_empty():
    with pytest.raises(ValidationError, match="queued"):
        Description(capabilities=CAPABILITIES, queued=-1, busy=False)
