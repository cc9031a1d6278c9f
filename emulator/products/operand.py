"""Products of couplings in whatever form they are stored, for kernels.

numba compiles a kernel for the one form that is not None, and leaves out what the others need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numba import njit

from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.dense_float import dense_product
from emulator.products.dense_int import LARGEST_CODE, DenseRows, multiply_words
from emulator.products.packing import pack_codes, pack_signs
from emulator.products.sparse import SparseRows, add_bytes, pack_bytes, sparse_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BLOCK_ROWS",
    "LANES",
    "Form",
    "multiply_reals",
    "multiply_taken",
    "padded_runs",
    "read_spins",
    "take_codes",
    "take_signs",
]

LANES = 16
# Rows of a product that stay in the fastest cache until they are used: 24 KB for 64 runs, and
# whole tiles of 6 and of 16 rows.
BLOCK_ROWS = 96


class Form(NamedTuple):
    """Couplings as kernels take them; all fields but one are None, which numba compiles for.

    Attributes
    ----------
    plain : array (n, n)
    dense : DenseRows
    sparse : SparseRows
    numbers : tuple of array
        Row starts, columns and values.
    """

    plain: NDArray[Any] | None
    dense: DenseRows | None
    sparse: SparseRows | None
    numbers: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None


def padded_runs(n_runs: int) -> int:
    """Return the runs of the arrays that kernels take: a multiple of 16."""
    return -(-n_runs // LANES) * LANES


@njit(cache=True, nogil=True)
def read_spins(x: NDArray[Any], spins: NDArray[Any]) -> None:
    """Write the signs of `x` (n, runs) to `spins`, perhaps wider; an exact zero counts as +1."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for i in range(len(x)):
        row, place = x[i], spins[i]
        for r in range(len(row)):
            place[r] = -1 if row[r] < 0 else 1


@njit(cache=True, nogil=True)
def _multiply_reals(plain: Any, numbers: Any, codes: NDArray[Any], out: NDArray[Any]) -> None:
    if plain is not None:
        dense_product(plain, codes, out)
    if numbers is not None:
        sparse_product(numbers[0], numbers[1], numbers[2], codes, out)


@njit(cache=True, nogil=True)
def multiply_reals(form: Form, codes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the product of `plain` or `numbers` with `codes` (n, runs), runs in sixteens."""
    _multiply_reals(form.plain, form.numbers, codes, out)


@njit(cache=True, nogil=True)
def _take_signs(
    dense: Any, sparse: Any, plain: Any, numbers: Any, x: NDArray[Any], room: Any
) -> None:
    # numba leaves out what tests an argument that is always None, and only that
    if dense is not None:
        pack_signs(x, room)
    if sparse is not None:
        read_spins(x, room)
    if plain is not None:
        read_spins(x, room)
    if numbers is not None:
        read_spins(x, room)


@njit(cache=True, nogil=True)
def _multiply_rows(
    dense: Any, sparse: Any, plain: Any, numbers: Any, room: Any, first: int, out: NDArray[Any]
) -> None:
    end = first + len(out)
    if dense is not None:
        multiply_words(dense, room, first, out)
    if sparse is not None:
        add_bytes(sparse, room, first, out)
    if plain is not None:
        dense_product(plain[first:end], room, out)
    if numbers is not None:
        sparse_product(numbers[0][first : end + 1], numbers[1], numbers[2], room, out)


@njit(cache=True, nogil=True)
def take_signs(form: Form, x: NDArray[Any], room: Any) -> None:
    """Put the signs of `x` (n, runs) into what `CouplingMatrix.room` returns."""
    _take_signs(form.dense, form.sparse, form.plain, form.numbers, x, room)


@njit(cache=True, nogil=True)
def _take_codes(
    dense: Any, sparse: Any, plain: Any, numbers: Any, codes: NDArray[Any], room: Any
) -> None:
    if dense is not None:
        pack_codes(codes, room)
    if sparse is not None:
        pack_bytes(codes, LARGEST_CODE, room)
    if plain is not None:
        room[...] = codes
    if numbers is not None:
        room[...] = codes


@njit(cache=True, nogil=True)
def take_codes(form: Form, codes: NDArray[Any], room: Any) -> None:
    """Put `codes` (n, runs), where `form` is in bytes integers of a byte, into `room`."""
    _take_codes(form.dense, form.sparse, form.plain, form.numbers, codes, room)


@njit(cache=True, nogil=True)
def multiply_taken(form: Form, room: Any, first: int, out: NDArray[Any]) -> None:
    """Write rows of the product with what is in `room`, from row `first` on, to `out`.

    Runs come in sixteens, and `first` is a multiple of `BLOCK_ROWS`.
    """
    _multiply_rows(form.dense, form.sparse, form.plain, form.numbers, room, first, out)
