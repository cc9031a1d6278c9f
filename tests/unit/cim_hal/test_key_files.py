from __future__ import annotations

import stat
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zmq
from hypothesis import assume, given
from hypothesis import strategies as st

from cim_hal.errors import EncryptionError, KeyFileError
from cim_hal.key_files import (
    config_folder,
    create_key,
    read_pair,
    read_public,
    replace_file,
    require_curve,
)


def test_a_new_key_is_read_by_its_owner_alone_and_its_halves_belong_together(tmp_path):
    secret, public = create_key("alice", tmp_path / "keys")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    pair = read_pair(secret)
    assert pair.public == read_public(public) == read_public(str(public))
    assert read_public(pair.public) == pair.public
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public
    assert pair.secret not in public.read_text()
    assert pair.secret not in repr(pair)


@pytest.mark.parametrize("left", ["alice.key", "alice.pub"])
def test_no_key_file_is_overwritten(tmp_path, left):
    paths = create_key("alice", tmp_path)
    for path in paths:
        if path.name != left:
            path.unlink()
    before = (tmp_path / left).read_bytes()
    with pytest.raises(KeyFileError, match="not overwritten"):
        create_key("alice", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [left]
    assert (tmp_path / left).read_bytes() == before


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", 'a"b', "x" * 65, "alice\n"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(KeyFileError, match="no name"):
        create_key(name, tmp_path)


def test_a_secret_key_that_others_may_read_is_refused(tmp_path):
    secret, public = create_key("alice", tmp_path)
    secret.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_pair(secret)
    with pytest.raises(KeyFileError, match="has no secret key"):
        read_pair(public)  # which everybody may read


def test_halves_of_two_keys_are_refused(tmp_path):
    secret, _ = create_key("alice", tmp_path)
    other = read_pair(create_key("bob", tmp_path)[0])
    secret.write_text(secret.read_text().replace(read_pair(secret).public, other.public))
    with pytest.raises(KeyFileError, match="belong together"):
        read_pair(secret)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read"),
        (b"key: 1", "not TOML"),
        (b"\xff", "not TOML"),
        (b"public = 1", "public = 1: it should be a text"),
        (b'pubic = "x"', "did you mean public"),
        (b'public = "short"', "no public key"),
        (b"#" * (1 << 21), "too large"),
    ],
)
def test_a_file_that_holds_no_key_says_what_is_wrong(tmp_path, text, sentence):
    path = tmp_path / "x.pub"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(KeyFileError, match=sentence):
        read_public(path)


def test_keys_are_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_folder() == tmp_path / "cim-hal"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_folder() == tmp_path / ".config" / "cim-hal"


def test_a_file_of_keys_is_replaced_and_its_folder_made(tmp_path):
    path = tmp_path / "new" / "a.toml"
    replace_file(path, "x = 1\n")
    assert path.read_text() == "x = 1\n"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="cannot write"):
        replace_file(tmp_path / "file" / "a.toml", "")


def test_a_library_without_curve_is_an_error_that_says_what_to_install(monkeypatch):
    require_curve()
    monkeypatch.setattr(zmq, "has", lambda feature: feature != "curve")  # no such build is at hand
    with pytest.raises(EncryptionError, match=r"without CURVE .*pip install"):
        require_curve()


Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


@given(st.text(alphabet=Z85, min_size=1, max_size=80))
def test_a_file_that_exists_is_read_whatever_its_name(name):
    assume(not {".", "..", ""} & set(name.split("/")))  # relative, and below the folder
    with TemporaryDirectory() as folder, chdir(folder):
        _, public = create_key("alice", Path(folder, "elsewhere"))
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(public.read_bytes())
        assert read_public(name) == read_public(path) == read_public(public)


@pytest.mark.parametrize("length", [39, 40, 41])
@pytest.mark.parametrize(
    "shape", ["{}.pub", "/{}", "keys/{}", "./{}", "../{}", ".{}", "{}.toml", "a/{}"]
)
def test_what_looks_like_a_path_is_no_key(shape, length):
    text = shape.format("k" * (length - len(shape) + 2))
    assert len(text) == length
    with pytest.raises(KeyFileError, match="cannot read"):
        read_public(text)


def test_new_public_keys_do_not_look_like_paths(tmp_path):
    for number in range(30):
        key = read_public(create_key(f"k{number}", tmp_path)[1])
        assert read_public(key) == key
