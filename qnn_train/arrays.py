"""Types of arrays in signatures; their shapes are in the docstrings."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "ArrayLike",
    "Arrays",
    "BitArray",
    "Float32Array",
    "FloatArray",
    "IntArray",
    "NDArray",
    "RealArray",
]

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]
BitArray: TypeAlias = NDArray[np.int8]
IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
Float32Array: TypeAlias = NDArray[np.float32]
RealArray: TypeAlias = NDArray[np.floating]  # float32 or float64
