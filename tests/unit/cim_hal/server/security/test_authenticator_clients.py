from __future__ import annotations

import pytest
import zmq

from cim_hal.errors import KeyFileError
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.server.security.authenticator import (
    AuthorizedClients,
    Client,
    authorize,
    read_clients,
    revoke,
)


def _client(name: str, role: str = "user") -> Client:
    key = zmq.curve_keypair()[0].decode()
    return Client.model_validate({"name": name, "key": key, "role": role})


def test_what_is_authorized_is_read_back_until_it_is_revoked(tmp_path):
    path = tmp_path / "deep" / "authorized.toml"
    alice, olga = _client("alice"), _client("olga", "operator")
    authorize(path, alice)
    authorize(path, olga)
    assert read_clients(path) == (alice, olga)
    revoke(path, "alice")
    assert read_clients(path) == (olga,)
    with pytest.raises(KeyFileError, match="no client alice"):
        revoke(path, "alice")


def test_every_key_of_the_alphabet_survives_the_file(tmp_path):
    path = tmp_path / "a.toml"
    keys = ["0123456789abcdefghijklmnopqrstuvwxyzABCD", "EFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{"]
    keys.append("}@%$#" * 8)
    for number, key in enumerate(keys):
        authorize(path, Client(name=f"n{number}", key=key, role="user"))
    assert [client.key for client in read_clients(path)] == keys


@pytest.mark.parametrize("same", ["name", "key"])
def test_a_name_or_a_key_is_there_once(tmp_path, same):
    path = tmp_path / "a.toml"
    alice, bob = _client("alice"), _client("bob")
    authorize(path, alice)
    with pytest.raises(KeyFileError, match="alice"):
        authorize(path, bob.model_copy(update={same: getattr(alice, same)}))
    assert read_clients(path) == (alice,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[client]]\nname = "a"\n', r"\[\[client\]\] number 1: key"),
        ('[[client]]\nname = "a"\nkey = "x"\nrole = "user"', r"\[\[client\]\] number 1: key"),
        ("[[clients]]\n", "did you mean client"),
        ("client = 3\n", "client"),
        ("[[client\n", "not TOML"),
        (
            f'[[client]]\nname = "a"\nkey = "{"x" * 40}"\nrole = "root"',
            r"\[\[client\]\] number 1: role",
        ),
        (
            f'[[client]]\nname = "a b"\nkey = "{"x" * 40}"\nrole = "user"',
            r"\[\[client\]\] number 1: name",
        ),
        (2 * f'[[client]]\nname = "a"\nkey = "{"x" * 40}"\nrole = "user"\n', "twice"),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(tmp_path, text, sentence):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(KeyFileError, match=sentence):
        AuthorizedClients(path)


def test_a_change_is_noticed_within_a_second_and_a_broken_file_changes_nothing(tmp_path, caplog):
    path = tmp_path / "a.toml"
    alice, bob = _client("alice"), _client("bob", "admin")
    authorize(path, alice)
    clients = AuthorizedClients(path)
    assert clients.user_of(alice.key) == User("alice", Role.USER)
    assert clients.user_of("None") is None
    assert not clients.refresh(10.0)
    authorize(path, bob)
    assert not clients.refresh(10.9)  # too early to look
    assert clients.refresh(11.0)
    assert clients.user_of(bob.key) == User("bob", Role.ADMIN)
    for breakage in (lambda: path.write_text("[["), path.unlink):
        breakage()
        assert not clients.refresh(0.0, force=True)
        assert (len(clients), clients.user_of(bob.key)) == (2, User("bob", Role.ADMIN))
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    authorize(path, alice)
    assert clients.refresh(0.0, force=True)
    assert clients.user_of(bob.key) is None
