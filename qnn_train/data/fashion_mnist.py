"""Fashion-MNIST: 70,000 images of clothes, 28x28, ten classes (Xiao et al., arXiv:1708.07747)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from qnn_train.data.datasets import Dataset, ImageSet
from qnn_train.data.idx import read_idx
from qnn_train.errors import DataError

__all__ = ["CLASS_NAMES", "DATA_DIR_VARIABLE", "data_directory", "download", "load_fashion_mnist"]

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


def data_directory(given: Path | None) -> Path:
    """Return where the files are: `given`, else $QNN_DATA_DIR, else a cache in the home."""
    if given is not None:
        return given
    named = os.environ.get(DATA_DIR_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "cim-hal" / "fashion-mnist"


def load_fashion_mnist(directory: Path) -> Dataset:
    """Load the official split from its four gzipped files.

    Raises
    ------
    DataError
        A file is missing or damaged, or labels and images do not match.
    """
    missing = [name for name in CHECKSUMS if not (directory / name).is_file()]
    if missing:
        raise DataError(
            f"no {missing[0]} in {directory}",
            hint=f"name the folder with --data-dir or ${DATA_DIR_VARIABLE}, "
            "or fetch the files with --download",
        )
    train, test = (_split(directory, prefix) for prefix in ("train", "t10k"))
    return Dataset("fashion-mnist", CLASS_NAMES, train, test)


def download(directory: Path) -> None:
    """Fetch the files that are not there yet, and check all of them.

    Raises
    ------
    DataError
        The extra ``download`` is not installed, or a file did not come or is not the official one.
    """
    try:
        import pooch
    except ImportError:
        raise DataError("downloading needs pooch", hint="pip install 'cim-hal[download]'") from None
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
        raise DataError(f"{len(images)} images and {len(labels)} labels in {directory}/{prefix}-*")
    if labels.max() >= len(CLASS_NAMES):
        raise DataError(f"{directory}/{prefix}-labels-idx1-ubyte.gz has the label {labels.max()}")
    return ImageSet(images, labels.astype(np.int64))
