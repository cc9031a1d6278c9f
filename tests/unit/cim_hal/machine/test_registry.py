"""Drivers by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoints

import pytest

from cim_hal import Driver, MachineConfig, TargetError, make_driver, registered_drivers
from cim_hal.machine.registry import is_emulated, lock_name


@pytest.fixture
def module(tmp_path, monkeypatch):
    source = (
        "from cim_hal import Driver\nnumber = 3\ndef broken():\n    raise OSError('no laser')\n"
    )
    (tmp_path / "our_lab.py").write_text(source + "def other():\n    return object()\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_emulators_are_registered():
    names = {driver.name for driver in registered_drivers()}
    assert {"emulator", "emulator-550", "emulator-mean-field"} <= names


def test_an_entry_point_name_makes_a_driver():
    assert isinstance(make_driver("emulator"), Driver)


def test_a_module_and_factory_make_a_driver():
    assert make_driver("emulator.presets:mean_field").describe().name == "emulator-mean-field"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("emulater", "did you mean emulator. cim-hal list shows all"),
        ("no_such_module:make", "No module named 'no_such_module'"),
        ("our_lab:absent", "has no attribute 'absent'"),
        ("our_lab:numbr", "did you mean number"),
        ("our_lab:number", "is an int"),
        ("our_lab:broken", "did not start: OSError: no laser"),
        ("our_lab:other", "made an object"),
        ("", "known: emulator"),
    ],
)
def test_a_wrong_target_says_what_is_wrong(module, target, says):
    with pytest.raises(TargetError, match=says):
        make_driver(target)


def test_the_mark_of_emulated_machines_is_seen_before_a_driver_is_made(module):
    assert all(is_emulated(driver.name) for driver in registered_drivers())
    assert is_emulated("emulator:EmulatedCim")
    assert not is_emulated("our_lab:broken")


def test_the_lock_is_of_the_hardware_that_a_file_or_an_option_names():
    plain = MachineConfig.of("our_lab:make", {"host": "a"})
    named = MachineConfig(driver="our_lab:make", hardware="left")
    assert lock_name(plain) == "our_lab:make"
    assert (lock_name(named), lock_name(named, "right")) == ("left", "right")


def test_a_server_is_no_driver_of_this_process():
    with pytest.raises(TargetError, match="is a server, and no driver of this process"):
        make_driver("tcp://127.0.0.1:5555")


def test_a_bridge_whose_package_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dimod", None)
    monkeypatch.delitem(sys.modules, "cim_hal.interop.dimod", raising=False)
    with pytest.raises(TargetError, match="pip install 'dimod>="):
        make_driver("dimod:dwave.samplers:TabuSampler")


def test_an_emulator_that_is_not_installed_names_the_full_install(monkeypatch):
    monkeypatch.setattr("cim_hal.machine.registry.offered", lambda _: EntryPoints(()))
    with pytest.raises(TargetError, match=r"the full install has it: pip install \. in"):
        make_driver("emulator")
