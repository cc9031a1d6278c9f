"""Machine files are read whole, or refused: where they are wrong, and what would be right."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

from cim_hal import CimError, MachineConfig, TargetError, make_driver, open_device, spawn_server

BENCH = """
driver = "configured_machines:Configured"
name = "bench-left"
hardware = "left"
[options]
host = "10.0.0.5"
port = 5026
timeout_s = 3
[settings]
gain = 0.5
adc.bits = 6
[limits]
queue_length = 3
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, name: str = "bench.toml"):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def test_what_a_file_says_is_what_the_driver_says(write):
    known = make_driver(write(BENCH)).describe()
    assert known.name == "bench-left"
    shown = {option.name: option.value for option in known.options}
    assert shown == {
        "host": "10.0.0.5",
        "port": 5026,
        "timeout_s": 3.0,
        "dry": False,
        "mode": "slow",
        "log": None,
    }
    chosen = {setting.name: setting.default for setting in known.settings if setting.is_chosen}
    assert chosen == {"gain": 0.5, "adc.bits": 6.0}


def test_options_in_a_line_go_before_those_of_the_file(write):
    config = MachineConfig.of(write(BENCH), {"port": 1}, texts={"timeout_s": "4"})
    shown = {option.name: option.value for option in make_driver(config).describe().options}
    assert (shown["host"], shown["port"], shown["timeout_s"]) == ("10.0.0.5", 1, 4.0)


@pytest.mark.parametrize("target", ["bench.toml", "./bench.toml"])
def test_a_path_is_a_path(write, target):
    path = write(BENCH)
    assert MachineConfig.of(target).driver == "configured_machines:Configured"
    assert MachineConfig.of(target).label == MachineConfig.of(path).label != "bench"


@pytest.mark.parametrize("target", ["none.toml", "./emulator", "no/such", "./"])
def test_what_looks_like_a_path_is_never_the_name_of_a_driver(write, target):
    write(BENCH)
    with pytest.raises(TargetError, match=r"cannot read the file|is not a file"):
        make_driver(target)


def test_a_value_pickles_with_what_the_file_said(write):
    path = write(BENCH)
    config = MachineConfig.of(path)
    path.unlink()
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "driver: it is missing"),
        ("name = 'x'", "driver: it is missing"),
        ("driver = 3", "driver = 3: it should be a text"),
        ("driver = ''", "driver = '': it should have at least 1"),
        ('driver = "a\\u0000b"', r"driver.* should match pattern"),
        ("drivers = 'emulator'", "no key 'drivers'; did you mean driver?"),
        ("driver = 'emulator'\n[option]\nx = 1", "no key 'option'; did you mean options?"),
        ("driver = 'emulator'\nsettings = 3", "settings = 3: it should be a table"),
        (
            "driver = 'emulator'\n[[settings]]\na = 1",
            r"settings = \[{'a': 1}\]: it should be a table",
        ),
        ("driver = 'emulator'\n[settings]\na = true", "settings.a = True: it should be a number"),
        ("driver = 'emulator'\n[settings]\na = '1'", "settings.a = '1': it should be a number"),
        ("driver = 'emulator'\n[settings]\na = nan", "settings.a = nan: it should be a finite"),
        ("driver = 'emulator'\n[settings]\na = [1]", r"settings.a = \[1\]: it should be a number"),
        ("driver = 'emulator'\n[settings]\na.b = 1\n'a.b' = 2", "a.b is there twice"),
        ("driver = 'emulator'\n[settings]\n" + ".".join("a" * 40) + " = 1", "nested too deep"),
        ("driver = 'emulator'\n" + ".".join("a" * 4000) + " = 1", "more than 100 parts"),
        ("driver = 'emulator'\n[options]\na = [1]", "options: a must be a short text, a finite"),
        ("driver = 'emulator'\n[options]\na.b = 1", "options: a must be a short text"),
        ("driver = 'emulator'\n[options]\na = nan", "options: a must be a short text"),
        ("driver = 'emulator'\n[options]\na = 1979-05-27", "options: a must be a short text"),
        ("driver = 'emulator'\n[options]\na = '" + "x" * 5000 + "'", "options: a must be a short"),
        ("driver = 'emulator'\n[limits]\na = true", "limits: a must be a finite number"),
        ("driver = 'emulator'\n[limits]\na = '1'", "limits: a must be a finite number"),
        ("driver = 'other.toml'", "it must be no other machine file"),
        ("driver = './other'", "it must be no other machine file"),
        ("driver = 'tcp://a:1'\n[options]\nhost = 'x'", "only be settings, no options"),
        ("driver = 'tcp://a:1'\nname = 'x'\n[limits]\nlease_s = 3", "no name, limits"),
        ("driver = 'a'\ndriver = 'b'", "is not TOML: Cannot overwrite"),
        (b"\xff\xfe", "is not TOML"),
        ("# " + "x" * (1 << 20), "too large for a machine"),
        ("a = " + "[" * 20_000, "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_what_is_right(write, text, says):
    path = write(text)
    began = time.perf_counter()
    with pytest.raises(TargetError, match=says) as caught:
        make_driver(path)
    assert "bench.toml" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert time.perf_counter() - began < 10.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[options]\nhots = 'x'", "no option 'hots' .did you mean host"),
        (
            "[options]\nhost = 'x'\nport = '5025'",
            "port of 'bench.toml' is '5025' .it must be a who",
        ),
        ("", "'bench.toml' needs the option host, a text"),
        ("[options]\nhost = 'x'\n[settings]\ngian = 1", r"settings\]: settings.*gian.*mean gain"),
        ("[options]\nhost = 'x'\n[settings]\ngain = 3", r"settings.gain: .* 0 to 2"),
        ("[options]\nhost = 'x'\n[settings]\nadc.bits = 6.5", "adc.bits: .* whole numbers 1 to 16"),
        ("[options]\nhost = 'x'\n[limits]\nqueue = 3", r"limits\]: there is no key 'queue'"),
        ("[options]\nhost = 'x'\n[limits]\nlease_s = 0", r"limits\]: lease_s = 0: it should"),
        ("[options]\nhost = 'x'\n[limits]\nqueue_length = 1.5", "queue_length = 1.5: it should"),
    ],
)
def test_options_settings_and_limits_are_checked_before_a_machine_is_used(write, text, says):
    write('driver = "configured_machines:Configured"\n' + text)
    with pytest.raises(TargetError, match=says):
        open_device("bench.toml")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "/proc/self/mem"])
def test_a_path_that_is_no_regular_file_ends_at_once(device):
    with pytest.raises(CimError):
        make_driver(device)


def test_numbers_of_numpy_are_numbers():
    given = {"host": "a", "port": np.int64(80), "timeout_s": np.float32(0.5)}
    known = make_driver("configured_machines:Configured", given).describe()
    shown = {option.name: option.value for option in known.options}
    assert (shown["port"], shown["timeout_s"]) == (80, 0.5)


@pytest.mark.parametrize("value", [None, [1], float("nan"), b"x", "x" * 5000, object()])
def test_what_is_no_value_of_an_option_is_refused_before_anything_is_started(value):
    with pytest.raises(TargetError, match=r"options.host = .* a short text, a finite number"):
        spawn_server("configured_machines:Configured", options={"host": value})


@pytest.mark.parametrize("target", [3, None, ["bench.toml"], b"bench.toml"])
def test_what_is_no_target_is_refused(target):
    with pytest.raises(TargetError, match="the target is a"):
        make_driver(target)


def test_a_server_takes_no_options():
    with pytest.raises(TargetError, match=r"is a server.*takes no options \(.*--setting"):
        MachineConfig.of("tcp://127.0.0.1:5555", {"port": 3})
