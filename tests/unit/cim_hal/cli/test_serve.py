from __future__ import annotations

import click
import pytest

from cim_hal import MachineConfig
from cim_hal.cli.serve import read_limits
from cim_hal.protocol.wire.limits import Limits

PLAIN = MachineConfig(driver="emulator")
CHOSEN = MachineConfig(
    driver="emulator", limits={"lease_s": 60, "queue_length": 10, "user_messages_per_s": 50.0}
)


def test_without_a_word_the_limits_are_those_of_the_protocol():
    assert read_limits(PLAIN, []) == Limits()


def test_an_option_goes_before_the_file():
    limits = read_limits(CHOSEN, ["lease_s=5", "slice_s=0.5"])
    assert limits == Limits(lease_s=5.0, slice_s=0.5, queue_length=10, user_messages_per_s=50.0)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("lease=5", "no key 'lease'; did you mean lease_s?"),
        ("xyzzy=5", "no key 'xyzzy'; known: chunk_bytes, credit"),
        ("lease_s", "'lease_s' is not NAME=VALUE"),
        ("lease_s=soon", "a number, in lease_s = 'soon'"),
        ("lease_s=0", "lease_s = 0: it should be greater than 0"),
        ("queue_length=1.5", "queue_length = 1.5: it should be a whole number"),
        ("lease_s=nan", "lease_s = 'nan'"),
        ("lease_s=inf", "lease_s = 'inf'"),
    ],
)
def test_what_is_no_limit_is_said(assignment, sentence):
    with pytest.raises(click.BadParameter) as caught:
        read_limits(PLAIN, [assignment])
    assert sentence in caught.value.message


def test_a_file_that_is_wrong_is_named():
    wrong = MachineConfig(driver="emulator", target="bench.toml", limits={"lease_s": -1})
    with pytest.raises(click.BadParameter, match=r"bench.toml: \[limits\]: lease_s = -1"):
        read_limits(wrong, [])
