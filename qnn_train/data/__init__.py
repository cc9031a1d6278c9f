"""Images with two classes, and the features that a small network sees of them."""

from qnn_train.data.datasets import Dataset, ImageSet, Pair, Selection, load_digits
from qnn_train.data.fashion_mnist import load_fashion_mnist
from qnn_train.data.features import PooledLevels, PooledSign

__all__ = [
    "Dataset",
    "ImageSet",
    "Pair",
    "PooledLevels",
    "PooledSign",
    "Selection",
    "load_digits",
    "load_fashion_mnist",
]
