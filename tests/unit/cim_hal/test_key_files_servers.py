from __future__ import annotations

import pytest

from cim_hal.errors import KeyFileError
from cim_hal.key_files import (
    ClientKeys,
    config_folder,
    create_key,
    default_key_file,
    keys_for,
    known_servers,
    read_pair,
    read_public,
    trust,
)

LAB = "tcp://lab:5555"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("server", "other", "client"):
        create_key(name, config_folder())
    return config_folder()


def test_without_keys_and_trust_there_is_no_encryption():
    assert keys_for(LAB) is None
    assert known_servers() == {}


def test_a_trusted_server_is_met_with_the_key_of_the_client(folder):
    trust(LAB, folder / "server.pub")
    own = read_pair(default_key_file())
    assert keys_for(LAB) == ClientKeys(own, read_public(folder / "server.pub"))
    assert keys_for("tcp://elsewhere:5555") is None


def test_trusting_again_replaces_one_server_and_leaves_the_others(folder):
    trust(LAB, folder / "server.pub")
    trust('ipc:///tmp/with "quotes"', folder / "server.pub")
    path = trust(LAB, read_public(folder / "other.pub"))
    assert path == folder / "known_servers.toml"
    assert known_servers() == {
        LAB: read_public(folder / "other.pub"),
        'ipc:///tmp/with "quotes"': read_public(folder / "server.pub"),
    }


def test_what_is_named_goes_before_what_is_trusted(folder):
    trust(LAB, folder / "server.pub")
    found = keys_for(LAB, folder / "server.key", folder / "other.pub")
    assert found == ClientKeys(read_pair(folder / "server.key"), read_public(folder / "other.pub"))


def test_a_client_key_alone_is_not_enough(folder):
    with pytest.raises(KeyFileError, match=f"public key of the server at {LAB} is missing"):
        keys_for(LAB, folder / "client.key")


def test_a_malformed_list_of_servers_is_refused(folder):
    (folder / "known_servers.toml").write_text("servers = 3\n")
    with pytest.raises(KeyFileError, match="servers = 3: it should be"):
        known_servers()


@pytest.mark.parametrize("length", [30, 40, 50])
def test_what_is_trusted_is_the_key_in_the_file_and_not_its_path(folder, monkeypatch, length):
    monkeypatch.chdir(folder)
    name = "s" * (length - 4) + ".pub"
    (folder / name).write_bytes((folder / "server.pub").read_bytes())
    trust(LAB, name)
    assert known_servers() == {LAB: read_public(folder / "server.pub")}
    with pytest.raises(KeyFileError, match="cannot read"):
        trust(LAB, "n" * (length - 4) + ".pub")


def test_a_list_of_servers_holds_keys_and_no_paths(folder):
    (folder / "known_servers.toml").write_text(f'[servers]\n"{LAB}" = "server.pub"\n')
    with pytest.raises(KeyFileError):
        known_servers()
