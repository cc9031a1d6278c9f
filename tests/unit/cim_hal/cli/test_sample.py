"""Schedules and settings from files and options."""

from __future__ import annotations

import click
import pytest

from cim_hal import PumpSchedule
from cim_hal.cli.sample import RunSettings, parse_pump, parse_settings, read_run_settings

RECOMMENDED = PumpSchedule.linear(0.0, 1.1, round_trips=2000)


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> RunSettings:
        path = tmp_path / "found.toml"
        path.write_text(text, encoding="utf-8")
        return read_run_settings(path)

    return read


def test_a_file_says_schedule_and_settings_with_dots_quoted_or_not(read):
    chosen = read(
        "[schedule]\npump = [0, 0.5, 1.2]\nround_trips = 300\n"
        '[settings]\ncoupling_gain = 0.9\n"adc.full_scale" = 0.1\ndac.full_scale = 2\n'
    )
    assert chosen.settings == {"coupling_gain": 0.9, "adc.full_scale": 0.1, "dac.full_scale": 2.0}
    assert chosen.schedule(RECOMMENDED) == PumpSchedule((0.0, 0.5, 1.2), 300)


def test_what_a_file_leaves_out_is_what_the_machine_recommends(read):
    assert read("").schedule(RECOMMENDED) == RECOMMENDED
    assert read("[schedule]\nround_trips = 7").schedule(RECOMMENDED) == RECOMMENDED.stretched(7)


def test_options_go_before_the_file(read):
    chosen = read("[schedule]\npump = [1]\nround_trips = 5\n[settings]\na = 1\nb = 2\n")
    both = chosen.with_options(pump=(0.0, 2.0), round_trips=None, settings={"b": 3.0})
    assert both.schedule(RECOMMENDED) == PumpSchedule((0.0, 2.0), 5)
    assert both.settings == {"a": 1.0, "b": 3.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pump = [", "is not TOML"),
        ("[schedule]\npumps = [1]", "no key 'pumps'; did you mean pump?"),
        ("[schedule]\npump = 1", "schedule.pump = 1: it should be a list"),
        ("[schedule]\npump = []", r"schedule.pump = \[\]: it should have at least 1 entry"),
        ("[schedule]\npump = ['x']", r"schedule.pump\[0\] = 'x': it should be a number"),
        ("[schedule]\npump = [nan]", r"schedule.pump\[0\] = nan: it should be"),
        ("[schedule]\npump = [-1]", r"schedule.pump\[0\] = -1: it should be"),
        ("[setting]\ngain = 1", "no key 'setting'; did you mean settings?"),
        ("gain = 1", "no key 'gain'; known: schedule, settings"),
        ("[found]\nwhen = 2026-11-22", "no key 'found'"),
        (
            "[schedule]\nround_trips = 1.5",
            "schedule.round_trips = 1.5: it should be a whole number",
        ),
        (
            "[schedule]\nround_trips = true",
            "schedule.round_trips = True: it should be a whole number",
        ),
        ("[settings]\ngain = 'high'", "settings.gain = 'high': it should be a number"),
        ("[settings]\ngain = inf", "settings.gain = inf: it should be a finite number"),
        ('[settings]\n"a.b" = 1\na.b = 1', "a.b is there twice"),
        ("[settings]\na.b = [1]", r"settings.a.b = \[1\]: it should be a number"),
        ("settings = 3", "settings = 3: it should be a table"),
        ("schedule = 3", "schedule = 3: it should be a table"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(read, text, says):
    with pytest.raises(click.BadParameter, match=says):
        read(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(click.BadParameter, match=r"none\.toml: No such file"):
        read_run_settings(tmp_path / "none.toml")


def test_knots_and_settings_on_the_command_line():
    assert parse_pump(None, None, "0,1.1, 2") == (0.0, 1.1, 2.0)
    assert parse_pump(None, None, None) is None
    assert parse_settings(None, None, ["a=1", "b.c = 2e-1", "a=3"]) == {"a": 3.0, "b.c": 0.2}


@pytest.mark.parametrize("text", ["", "0;1", "0,x", "0,nan", "inf"])
def test_a_pump_that_is_no_numbers_is_refused(text):
    with pytest.raises(click.BadParameter):
        parse_pump(None, None, text)


@pytest.mark.parametrize("text", ["gain", "gain=", "gain=high", "gain=nan", "gain=-inf"])
def test_a_setting_that_is_no_number_is_refused(text):
    with pytest.raises(click.BadParameter, match="NAME=NUMBER"):
        parse_settings(None, None, [text])
