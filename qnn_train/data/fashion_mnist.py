"""Fashion-MNIST: 70,000 images of clothes, 28x28, ten classes (Xiao et al., arXiv:1708.07747).

Its IDX files are gzip, a big-endian header, then bytes. They come from outside: the header is
checked, and no more is unpacked than it says.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from cim_hal.extras import load_extra
from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import NDArray
from qnn_train.data.datasets import Dataset, ImageSet
from qnn_train.errors import DataError

__all__ = [
    "CLASS_NAMES",
    "DATA_DIR_VARIABLE",
    "data_directory",
    "download",
    "load_fashion_mnist",
    "read_idx",
]

DATA_DIR_VARIABLE = "QNN_DATA_DIR"
SOURCE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def data_directory(given: str | os.PathLike[str] | None) -> Path:
    """Return where the files are: `given`, else $QNN_DATA_DIR, else a cache in the home."""
    if given is not None:
        return Path(given)
    named = os.environ.get(DATA_DIR_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "cim-hal" / "fashion-mnist"


@checked
def load_fashion_mnist(directory: str | os.PathLike[str]) -> Dataset:
    """Load the official split from its four gzipped files.

    Raises
    ------
    DataError
        A file is missing or damaged, or labels and images do not match.
    """
    folder = Path(directory)
    missing = [name for name in CHECKSUMS if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"no {missing[0]} in {folder}",
            hint=f"name the folder with --data-dir or ${DATA_DIR_VARIABLE}, "
            "or fetch the files with --download",
        )
    train, test = (_split(folder, prefix) for prefix in ("train", "t10k"))
    return Dataset("fashion-mnist", CLASS_NAMES, train, test)


def download(directory: str | os.PathLike[str]) -> None:
    """Fetch the files that are not there yet, and check all of them.

    Raises
    ------
    DataError
        The extra ``download`` is not installed, or a file did not come or is not the official one.
    """
    pooch = load_extra("pooch", "downloading", DataError)
    pooch.get_logger().setLevel("WARNING")
    try:
        for name, checksum in CHECKSUMS.items():
            pooch.retrieve(SOURCE + name, known_hash=checksum, fname=name, path=directory)
    except (OSError, ValueError) as error:
        raise DataError(f"the download to {directory} failed: {error}") from None


def _split(directory: Path, prefix: str) -> ImageSet:
    images = read_idx(directory / f"{prefix}-images-idx3-ubyte.gz", item_shape=(28, 28))
    labels = read_idx(directory / f"{prefix}-labels-idx1-ubyte.gz", item_shape=())
    if len(images) != len(labels):
        raise DataError(
            f"{counted(len(images), 'image')} and {len(labels)} labels in {directory}/{prefix}-*"
        )
    if labels.max() >= len(CLASS_NAMES):
        raise DataError(f"{directory}/{prefix}-labels-idx1-ubyte.gz has the label {labels.max()}")
    return ImageSet(images, labels.astype(np.int64))


UNSIGNED_BYTES = 0x08
MAX_ITEMS = 100_000


def read_idx(path: str | os.PathLike[str], *, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read unsigned bytes of shape (count, *item_shape).

    Raises
    ------
    DataError
        Not gzip, another type or shape, an unlikely count, or a length that does not match.
    """
    path, n_axes = Path(path), 1 + len(item_shape)
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * n_axes)
            shape = _shape(path, header, n_axes, item_shape)
            data = file.read(prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", hint="damaged? fetch it again") from None
    if len(data) != prod(shape):
        more = "more" if len(data) > prod(shape) else "fewer"
        raise DataError(f"{path} holds {more} bytes than its header says", hint="fetch it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, n_axes: int, item_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(header) < 4 + 4 * n_axes:
        raise DataError(f"{path} ends within its header", hint="fetch it again")
    magic, *shape = struct.unpack(f">{1 + n_axes}I", header)
    if magic != UNSIGNED_BYTES << 8 | n_axes:
        raise DataError(f"{path} is no IDX file of {n_axes} axes: it begins with 0x{magic:08x}")
    if not 1 <= shape[0] <= MAX_ITEMS or tuple(shape[1:]) != item_shape:
        sizes = " x ".join(str(size) for size in shape)
        raise DataError(f"{path} says it holds {sizes} bytes", hint=f"expected _ x {item_shape}")
    return tuple(shape)
