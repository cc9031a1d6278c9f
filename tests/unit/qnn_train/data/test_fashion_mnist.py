"""Fashion-MNIST: files of images and labels, where they are looked for, and what is refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from qnn_train import DataError, load_fashion_mnist
from qnn_train.data.fashion_mnist import data_directory, read_idx


def write_idx(
    path: Path, array: np.ndarray, *, magic: int | None = None, tail: bytes = b""
) -> Path:
    header = struct.pack(f">{1 + array.ndim}I", magic or 0x800 | array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes() + tail))
    return path


IMAGES = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_an_idx_file_is_read_back_as_written(tmp_path):
    path = write_idx(tmp_path / "a.gz", IMAGES)
    np.testing.assert_array_equal(read_idx(path, item_shape=(3, 3)), IMAGES)


def damaged(tmp_path: Path, kind: str) -> Path:
    path = write_idx(tmp_path / "a.gz", IMAGES)
    whole = path.read_bytes()
    match kind:
        case "not gzip":
            path.write_bytes(b"PNG" + whole)
        case "cut":
            path.write_bytes(whole[:-12])
        case "header cut":
            path.write_bytes(gzip.compress(b"\0\0\x08\x03\0\0"))
        case "magic":
            write_idx(path, IMAGES, magic=0x0D03)
        case "longer":
            write_idx(path, IMAGES, tail=b"\0")
        case "shorter":
            path.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
        case "huge":
            path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2**31, 3, 3)))
        case "flipped":
            path.write_bytes(whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:])
    return path


KINDS = ["not gzip", "cut", "header cut", "magic", "longer", "shorter", "huge", "flipped"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_by_name(tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(DataError, match=r"a\.gz"):
        read_idx(path, item_shape=(3, 3))


def test_images_of_another_size_are_refused(tmp_path):
    with pytest.raises(DataError, match="2 x 3 x 3"):
        read_idx(write_idx(tmp_path / "a.gz", IMAGES), item_shape=(28, 28))


def small_fashion(folder: Path, *, n_labels: int = 10, label: int = 0) -> Path:
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", np.zeros((10, 28, 28), np.uint8))
        labels = np.arange(n_labels, dtype=np.uint8)
        labels[0] = label
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return folder


def test_fashion_mnist_is_read_from_a_folder(tmp_path):
    data = load_fashion_mnist(small_fashion(tmp_path))
    assert data.class_names[5] == "Sandal"
    pair = data.pair(5, 4)
    np.testing.assert_array_equal(pair.train.labels, [1, -1])
    assert pair.class_names == ("Sandal", "Coat")


def test_missing_files_say_where_was_looked_and_how_to_get_them(tmp_path):
    with pytest.raises(DataError, match="--download") as caught:
        load_fashion_mnist(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("n_labels", "label"), [(9, 0), (10, 77)])
def test_labels_that_do_not_belong_to_the_images_are_refused(tmp_path, n_labels, label):
    with pytest.raises(DataError, match="label"):
        load_fashion_mnist(small_fashion(tmp_path, n_labels=n_labels, label=label))


def test_the_folder_is_the_given_one_then_the_environments(monkeypatch, tmp_path):
    monkeypatch.setenv("QNN_DATA_DIR", "/somewhere")
    assert data_directory(tmp_path) == tmp_path
    assert data_directory(None) == Path("/somewhere")
    monkeypatch.delenv("QNN_DATA_DIR")
    assert data_directory(None).is_relative_to(Path.home())


def test_the_official_files_have_the_official_counts(shared_dir):
    data = load_fashion_mnist(shared_dir / "data" / "fashion_mnist")
    assert (np.bincount(data.train.labels) == 6000).all()
    assert (np.bincount(data.test.labels) == 1000).all()
    assert data.train.images.mean() / 255 == pytest.approx(0.28604, abs=1e-5)
