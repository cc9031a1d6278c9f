"""Values of callers as float64: converted if no value changes, refused otherwise.

Every array or number of a user enters through these functions. Numpy alone would drop imaginary
parts, read dates as numbers and text as floats, and round large integers.
"""

from __future__ import annotations

import numbers
import operator
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from cim_hal.errors import CimError

__all__ = [
    "SMALL",
    "Couplings",
    "CsrArray",
    "csr",
    "duration",
    "flag",
    "has_bool",
    "is_sparse",
    "is_symmetric",
    "real_array",
    "real_couplings",
    "real_number",
    "require",
    "require_each",
    "row_blocks",
    "type_for",
    "whole_number",
    "with_article",
]


class CsrArray(Protocol):
    """What the project uses of ``scipy.sparse.csr_array``: scipy comes without types."""

    @property
    def data(self) -> NDArray[Any]:
        """The stored entries, row by row."""
        ...

    @property
    def indices(self) -> NDArray[np.integer]:
        """The column of each stored entry."""
        ...

    @property
    def indptr(self) -> NDArray[np.integer]:
        """Where each row begins in `data`, and where the last ends."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the entries."""
        ...

    @property
    def nnz(self) -> int:
        """How many entries are stored."""
        ...

    @property
    def T(self) -> CsrArray:
        """The transpose."""
        ...

    def astype(self, dtype: DTypeLike, /, *, copy: bool = True) -> CsrArray:
        """Return it with entries of another type."""
        ...

    def diagonal(self) -> NDArray[Any]:
        """Return the diagonal."""
        ...

    def multiply(self, other: Any, /) -> CsrArray:
        """Return the product entry by entry."""
        ...

    def sum(self, axis: int | None = None) -> NDArray[Any]:
        """Return the sum of the entries, of all or along an axis."""
        ...

    def toarray(self) -> NDArray[Any]:
        """Return it as a dense array."""
        ...

    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...
    def __neg__(self) -> CsrArray: ...
    def __add__(self, other: Any, /) -> CsrArray: ...
    def __sub__(self, other: Any, /) -> CsrArray: ...
    def __mul__(self, other: Any, /) -> CsrArray: ...
    def __rmul__(self, other: Any, /) -> CsrArray: ...
    def __abs__(self) -> CsrArray: ...
    @overload
    def __matmul__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __matmul__(self, other: CsrArray, /) -> CsrArray: ...


def csr(*parts: Any, **options: Any) -> CsrArray:
    """Return ``scipy.sparse.csr_array`` of these arguments, with types."""
    made: Any = scipy.sparse.csr_array(*parts, **options)
    return made


# float64, or int8 or int16 where couplings are dense
Couplings: TypeAlias = "NDArray[Any] | CsrArray"
SMALL = (np.int8, np.int16)  # integers that dense couplings may stay

Kind = TypeVar("Kind")
MAX_INT64 = 2**63 - 1
PART = 1 << 22  # entries looked at together
BLOCK = 512
LARGEST_EXACT = 2**53  # beyond it float64 skips integers
HINT = "pass real numbers, for instance of type float64"


def real_array(name: str, values: Any, error: type[CimError]) -> NDArray[np.float64]:
    """Return a float64 copy of an array or nested list, C-contiguous.

    Parameters
    ----------
    name : str
        What the caller calls it.
    error : type
        What is raised.

    Raises
    ------
    CimError
        It is complex, bool, text, dates or objects, is masked, or a number would be rounded.
    """
    try:
        array = np.asarray(values)
    except Exception as failure:  # noqa: BLE001 - __array__ of a foreign object
        raise error(f"{name} is not an array of real numbers: {failure}") from None
    if array.dtype.kind not in "iuf":
        is_object = array.dtype.kind in "OV" and not isinstance(values, (np.ndarray, list, tuple))
        what = f"{with_article(type(values).__name__)}" if is_object else f"of type {array.dtype}"
        raise error(f"{name} is not an array of real numbers: it is {what}", hint=HINT)
    masked = sys.modules.get("numpy.ma")  # whoever has a masked array has loaded it
    if masked is not None and masked.is_masked(values):
        raise error(f"{name} has masked entries", hint="fill or remove them")
    if has_bool(values):
        raise error(f"{name} mixes numbers with True and False", hint=HINT)
    with np.errstate(over="ignore"):
        floats = np.array(array, dtype=np.float64, order="C")
    _check_exact(name, array, floats, values, error)
    return floats


def real_number(name: str, value: Any, error: type[CimError]) -> float:
    """Return one finite number as float, or raise `error`."""
    array = real_array(name, value, error)
    if array.ndim:
        raise error(f"{name} has the shape {array.shape}", hint="pass one number")
    if not np.isfinite(array):
        raise error(f"{name} = {float(array)} is not finite")
    return float(array)


def whole_number(
    name: str, value: Any, error: type[CimError], low: int | None = None, high: int | None = None
) -> int:
    """Return an integer of Python within a range, at most int64's, or raise `error`.

    Integers of numpy are taken, but not returned: they overflow, 2 ** np.uint8(8) is 0.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise error(f"{name} = {value!r:.100}", hint="it must be an integer")
    if (low is not None and number < low) or (high is not None and number > high):
        right = f"{low} or more" if high is None else f"{low} to {high}"
        raise error(f"{name} = {number!r:.100}", hint=f"it must be {right}")
    if not -MAX_INT64 - 1 <= number <= MAX_INT64:
        raise error(f"{name} = {number!r:.100}", hint="it must fit in 64 bits")
    return number


def flag(name: str, value: Any, error: type[CimError]) -> bool:
    """Return True or False, or raise `error`."""
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} = {value!r:.100}", hint="it must be True or False")
    return bool(value)


def duration(name: str, value: Any, error: type[CimError]) -> float:
    """Return seconds, 0 or more and perhaps infinite, or raise `error`."""
    seconds = real_array(name, value, error)
    if seconds.ndim or not seconds >= 0:
        raise error(f"{name} = {value!r:.100}", hint="it must be positive")
    return float(seconds)


def real_couplings(
    name: str, J: Any, error: type[CimError], *, keeps_small: bool = False
) -> Couplings:
    """Return a matrix as float64, dense or CSR as it came; entries of a pair given twice add up.

    With `keeps_small` dense arrays of int8 and int16 are copied as they are. Errors as of
    `real_array`. Adding is what scipy says of entries given twice.
    """
    if not is_sparse(J):
        if isinstance(J, Mapping):
            fill = f"fill a matrix: {name} = np.zeros((n, n)), and {name}[i, j] = value of a pair"
            raise error(f"{name} is not an array of real numbers: it is a dict", hint=fill)
        if keeps_small and type(J) is np.ndarray and J.dtype in SMALL:
            return np.array(J, order="C")
        return real_array(name, J, error)
    if J.dtype.kind not in "iuf":
        what = f"it is of type {J.dtype}"
        raise error(f"{name} is not an array of real numbers: {what}", hint=HINT)
    with np.errstate(over="ignore"):
        floats = J.astype(np.float64)  # first: sums of small integers may overflow
    if J.dtype != np.float64:
        _check_exact(name, J.tocoo().data, floats.tocoo().data, J, error)
    matrix = scipy.sparse.csr_array(floats, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def row_blocks(J: NDArray[Any]) -> Iterator[slice]:
    """Yield rows of a matrix some at a time, so that what is made of them stays small."""
    n_rows = max(PART // max(J[:1].size, 1), 1)
    return (slice(top, top + n_rows) for top in range(0, len(J), n_rows))


def is_symmetric(J: NDArray[Any]) -> bool:
    """Return whether a square matrix is its transpose, a block that fits the cache at a time."""
    blocks = [slice(first, first + BLOCK) for first in range(0, len(J), BLOCK)]
    pairs = ((rows, columns) for at, rows in enumerate(blocks) for columns in blocks[at:])
    return all(np.array_equal(J[rows, columns], J[columns, rows].T) for rows, columns in pairs)


def type_for(J: Couplings, values: NDArray[Any]) -> np.dtype[Any]:
    """Return the type of `J`, or float64 where it does not hold the `values`."""
    dtype = np.dtype(J.dtype)
    with np.errstate(invalid="ignore"):
        fits = dtype.kind == "f" or np.array_equal(values, values.astype(dtype))
    return dtype if fits else np.dtype(np.float64)


def is_sparse(J: Any) -> bool:
    """Return whether `J` is of scipy.sparse; nothing is before somebody has imported it."""
    return "scipy.sparse" in sys.modules and scipy.sparse.issparse(J)


def require(
    name: str, value: Any, kind: type | tuple[type, ...], error: type[CimError], *, hint: str
) -> None:
    """Raise `error` unless `value` is of a type, or of one of several."""
    if not isinstance(value, kind):
        right = " or ".join(
            with_article(each.__name__) for each in (kind if isinstance(kind, tuple) else (kind,))
        )
        raise error(f"{name} is {with_article(type(value).__name__)}, not {right}", hint=hint)


def with_article(noun: str) -> str:
    """Return a noun, such as the name of a type, with its article.

    >>> with_article("IsingModel"), with_article("str"), with_article("ndarray")
    ('an IsingModel', 'a str', 'an ndarray')
    """
    return f"an {noun}" if noun[0] in "aeioAEIO" or noun == "ndarray" else f"a {noun}"


def _check_exact(
    name: str, before: NDArray[Any], after: NDArray[Any], given: Any, error: type[CimError]
) -> None:
    """Refuse numbers that float64 does not hold: long integers, and long doubles."""
    is_float, is_array = before.dtype.kind == "f", isinstance(given, np.ndarray) or is_sparse(given)
    if is_array and before.dtype.itemsize <= (8 if is_float else 4):
        return
    if before.dtype.itemsize > 8:
        changed = np.flatnonzero((after != before) & ~np.isnan(before))
    else:
        suspects = np.flatnonzero(np.abs(after) >= LARGEST_EXACT)
        # a list that mixes integers and floats was rounded already by np.asarray
        origin = before if is_array or not is_float else np.array(given, dtype=object)
        values = [origin.flat[at] for at in suspects] if len(suspects) else []
        floats = after.flat[suspects].tolist()
        pairs = zip(suspects, values, floats, strict=True)
        changed = [at for at, value, held in pairs if _as_python(value) != held]
    if len(changed) > 0:
        number = before.flat[changed[0]]
        raise error(f"{name} has the number {number}, which float64 would round", hint=HINT)


def require_each(
    name: str, values: Any, kind: type[Kind], error: type[CimError], *, hint: str
) -> list[Kind]:
    """Return a list of values that are all of a type, or raise `error`."""
    require(name, values, Iterable, error, hint="pass a list")
    found = list(values)
    for value in found:
        require(f"one of {name}", value, kind, error, hint=hint)
    return found


def has_bool(values: Any) -> bool:
    """Whether a nested list has a truth value, which numpy takes for a number among numbers."""
    if not isinstance(values, list | tuple):
        return isinstance(values, np.ndarray) and values.dtype.kind == "b"
    kinds = set(map(type, values))
    if kinds & {bool, np.bool_}:
        return True
    return bool(kinds & {list, tuple, np.ndarray}) and any(map(has_bool, values))


def _as_python(value: Any) -> Any:
    # numpy compares its integers with floats as floats, Python exactly
    return int(value) if isinstance(value, numbers.Integral) else value
