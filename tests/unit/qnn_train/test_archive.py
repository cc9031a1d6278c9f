"""Arrays in files: whole or not at all, and read as hostile input."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train.archive import (
    checked_array,
    checked_bits,
    read_arrays,
    reading,
    unpacked_size,
    write_arrays,
)
from qnn_train.errors import DataError, TrainingError

ARRAYS = {"reals": np.array([0.1, np.pi]), "counts": np.arange(12).reshape(3, 4)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "arrays.npz"
    write_arrays(path, ARRAYS, lambda _: None)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_bit_for_bit(tmp_path, compressed):
    path = tmp_path / "again.npz"
    write_arrays(path, ARRAYS, lambda _: None, compressed=compressed)
    found = read_arrays(path, DataError, max_bytes=10_000)
    assert found.keys() == ARRAYS.keys()
    for name, array in found.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_a_file_that_is_refused_leaves_the_old_one_and_nothing_beside_it(path):
    before = path.read_bytes()

    def refuse(_):
        raise DataError("no")

    with pytest.raises(DataError):
        write_arrays(path, {"reals": np.zeros(1)}, refuse)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_not_opened_where_it_unpacks_to_too_much(path):
    size = unpacked_size(path)
    assert size > sum(array.nbytes for array in ARRAYS.values())
    read_arrays(path, DataError, max_bytes=size)
    with pytest.raises(DataError, match=f"unpacks to more than {size - 1} bytes"):
        read_arrays(path, DataError, max_bytes=size - 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", None])
def test_what_is_no_archive_is_refused_by_name(path, content):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"cannot read {path}"):
        read_arrays(path, DataError, max_bytes=1000)


def test_objects_are_never_unpickled(path):
    np.savez(path, bad=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="cannot read"):
        read_arrays(path, DataError, max_bytes=10_000)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("bits"), "a.npz has no entry 'bits'"),
        (ValueError("odd"), "a.npz is no model: odd"),
        (TrainingError("odd"), "a.npz is no model: odd"),
    ],
)
def test_what_a_reader_finds_wrong_is_said_of_the_file(error, sentence):
    with pytest.raises(DataError, match=sentence), reading("a.npz", DataError, "is no model"):
        raise error


@pytest.mark.parametrize(
    ("array", "kinds", "shape"),
    [
        (np.zeros((2, 3)), "f", None),
        (np.zeros(3), "f", (2,)),
        (np.zeros(3), "iu", (3,)),
        (np.array([1.0, np.nan]), "f", None),
    ],
)
def test_an_array_of_another_shape_or_kind_or_that_is_not_finite_is_refused(array, kinds, shape):
    with pytest.raises(ValueError, match="some"):
        checked_array({"some": array}, "some", kinds, shape)
    row = np.array([1.0, 2.0])
    assert checked_array({"some": row}, "some", "f", None) is row


def test_packed_bits_come_back_and_their_shape_is_checked():
    bits = np.random.default_rng(0).integers(0, 2, (3, 11), np.int8)
    arrays = {"bits": np.packbits(bits, axis=1)}
    found = checked_bits(arrays, "bits", 3, 11)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, bits)
    for rows, n_bits in ((2, 11), (3, 17)):
        with pytest.raises(ValueError, match="bits has shape"):
            checked_bits(arrays, "bits", rows, n_bits)
