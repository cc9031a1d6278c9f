"""The user's file of defaults: read whole, or refused; used wherever there is a target."""

from __future__ import annotations

import json
import os

import pytest
from counted_driver import count_drivers

from cim_hal import MachineConfig, TargetError, open_device
from cim_hal.cli.app import program
from cim_hal.client.options import ConnectionOptions
from cim_hal.console import run
from cim_hal.key_files import create_key
from cim_hal.user_config import named_target, read_user_config, required_device

SECRET = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the file of a home of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "cim-hal"
    folder.mkdir()

    def write(text: str):
        (folder / "config.toml").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def made(monkeypatch):
    return count_drivers(monkeypatch)


FILE = """
device = "bench"

[targets]
bench = "counted:make"
twin = {target = "twin.toml"}

[targets.lab]
target = "tcp://127.0.0.1:5555"
key = "alice.key"
server_key = "lab.pub"
"""


def test_a_name_stands_for_a_target_and_its_keys(write):
    folder = write(FILE)
    (folder / "twin.toml").write_text('driver = "counted:make"\nsettings = {gain = 2.0}\n')
    lab = MachineConfig.of("lab")
    assert (lab.driver, lab.target) == ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555")
    assert (lab.key, lab.server_key) == (str(folder / "alice.key"), str(folder / "lab.pub"))
    assert MachineConfig.of("twin") == MachineConfig.of(folder / "twin.toml")
    assert MachineConfig.of("bench") == MachineConfig.of("counted:make")


def test_keys_that_are_given_go_before_those_of_the_file(write):
    folder = write(FILE)
    found = ConnectionOptions.of("lab", {"key": "other.key"})
    assert (found.key, found.server_key) == ("other.key", str(folder / "lab.pub"))
    assert ConnectionOptions.of("tcp://127.0.0.1:5555", {}).key is None


def test_the_device_is_what_is_opened_where_nothing_is_named(write, made, capsys):
    write(FILE)
    with open_device() as session:
        assert session.capabilities.name == "annealer"
    assert run(program, ["describe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "annealer"
    assert len(made) == 2


def test_without_a_file_all_is_as_before(write, capsys):
    assert read_user_config().targets == {}
    with pytest.raises(TargetError, match=r"no target was given \(name one, or a device in .*toml"):
        required_device()
    assert run(program, ["describe"]) == 2
    assert "Missing argument 'TARGET'" in capsys.readouterr().err
    assert run(program, ["config"]) == 0
    assert "config.toml: there is no such file" in capsys.readouterr().out


def test_the_command_shows_what_is_in_force(write, capsys):
    folder = write(FILE)
    create_key("alice", folder)
    assert run(program, ["config"]) == 0
    shown = capsys.readouterr().out
    assert "lab.pub (there is no such file)" in shown
    assert "device: bench" in shown
    assert run(program, ["config", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["targets"]["lab"]["key"] == str(folder / "alice.key")
    assert facts["targets"]["bench"] == {"target": "counted:make", "key": None, "server_key": None}


def test_commands_about_servers_take_names_too(write, capsys):
    write(FILE.replace("5555", "1"))
    assert run(program, ["jobs", "bench", "list"]) == 2
    assert "needs a server" in capsys.readouterr().err
    assert run(program, ["status", "lab"]) == 2  # key files are read first
    assert "lab.pub" in capsys.readouterr().err


def test_a_name_that_is_misspelled_is_told_the_nearest(write):
    write(FILE)
    with pytest.raises(TargetError, match="did you mean bench"):
        open_device("bnech")


WRONG = {
    "devise = 'x'": "there is no key 'devise'; did you mean device?",
    "device = 3": "device = 3: it should be a text",
    "targets = 3": "targets = 3: it should be a table",
    "targets.lab = 3": "targets.lab = 3",
    "targets.'a b' = 'emulator'": "'a b' is no name",
    "targets.'x.toml' = 'emulator'": "'x.toml' is no name",
    "targets.lab = 'http://lab'": "'http://lab' is no target",
    "targets.lab = 'tcp://lab:99999'": "with a port from 1 to 65535",
    "targets.lab = {target = 'tcp://lab:1', keys = 'x'}": "no key 'keys'; did you mean key?",
    "targets.lab = {key = 'x'}": "targets.lab.target: it is missing",
    "targets.lab = {target = 'emulator', key = 'x'}": "a driver, which asks for no keys",
    "targets.lab = 'a\\nb'": "string_pattern_mismatch|should match pattern",
    f"targets.lab = {{target = 'tcp://lab:1', key = '{SECRET}'}}": "key is a key: name its file",
    "device =": "is not TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_not_right_is_refused_with_its_place(write, text):
    folder = write(text.replace("'a\\nb'", '"a\\nb"'))
    with pytest.raises(TargetError) as caught:
        open_device("lab")
    assert any(words in str(caught.value) for words in WRONG[text].split("|"))
    assert str(folder / "config.toml") in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_name_that_is_a_driver_too_is_refused_with_both_readings(write):
    write("targets.emulator = 'tcp://127.0.0.1:1'")
    with pytest.raises(TargetError, match=r"an installed driver, and tcp://127\.0\.0\.1:1 in"):
        open_device("emulator")


def test_names_do_not_stand_for_names(write):
    write("targets = {one = 'two', two = 'counted:make'}")
    with pytest.raises(TargetError, match="no device goes by the name 'two'"):
        open_device("one")


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_file_that_anybody_may_write_is_refused(write):
    path = write(FILE) / "config.toml"
    path.chmod(0o666)
    with pytest.raises(TargetError, match=r"anybody may write .* \(chmod o-w"):
        named_target("lab")


def test_a_folder_in_its_place_is_refused(write):
    (write("") / "config.toml").unlink()
    (read_user_config().path).mkdir()
    with pytest.raises(TargetError, match="is not a file"):
        named_target("lab")
