"""Files that are written whole or not at all: one function for all kinds of files."""

from __future__ import annotations

import os
import stat

import pytest

from cim_hal.atomic_files import replacing


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_when_its_block_ends(path, durable):
    with replacing(path, durable=durable) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_or_an_interrupt_leaves_the_old_file_and_nothing_beside_it(path, error):
    with pytest.raises(error), replacing(path) as file:
        raise error(file.write(b"half"))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_do_not_mix(path):
    with replacing(path) as one, replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"  # whose block ended last


def test_a_new_file_has_its_mode_from_the_start_and_a_replaced_one_keeps_its_own(path):
    with replacing(path.with_name("new"), mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    path.chmod(0o640)
    with replacing(path, mode=0o600) as file:
        file.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_one(path):
    link = path.with_name("link")
    link.symlink_to(path)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_what_is_no_file_is_never_replaced(path):
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    for place in (pipe, path.parent):
        with pytest.raises(OSError, match="not a regular file"), replacing(place):
            pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a"):
        pass
