"""Settings take what is in their range, and say so otherwise."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from cim_hal import CapabilityError, Setting
from cim_hal.machine.setting import check_settings

GAIN = Setting(name="gain", unit="dB", default=1.0, low=0.5, high=4.0, log=True)
TURNS = Setting(name="turns", default=2, low=0, high=3, integer=True)


@pytest.mark.parametrize("value", [0.5, 1.0, 4.0])
def test_both_ends_of_the_range_belong_to_it(value):
    GAIN.check(value)


@pytest.mark.parametrize("value", [0.49, 4.01, math.nan, math.inf])
def test_a_value_out_of_range_is_refused_with_the_setting_and_its_range(value):
    with pytest.raises(CapabilityError, match=r"settings\.gain: .* has 0\.5 to 4 dB") as caught:
        GAIN.check(value)
    assert caught.value.details["what"] == "settings.gain"


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, 4])
def test_a_setting_with_clicks_takes_whole_numbers_only(value):
    TURNS.check(3.0)
    with pytest.raises(CapabilityError, match="whole numbers 0 to 3"):
        TURNS.check(value)


def test_an_unknown_setting_is_refused_with_those_there_are():
    with pytest.raises(CapabilityError, match="needs gian, the device has gain, turns"):
        check_settings([GAIN, TURNS], {"gian": 1.0})
    with pytest.raises(CapabilityError, match="the device has none"):
        check_settings([], {"gain": 1.0})


@pytest.mark.parametrize(
    "wrong",
    [{"low": 2.0}, {"high": 0.5}, {"low": 0.0, "log": True}, {"high": math.inf}, {"name": ""}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Setting(**{"name": "x", "default": 1.0, "low": 0.5, "high": 4.0} | wrong)
