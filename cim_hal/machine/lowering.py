r"""Lower a model to a machine, and lift its spins back.

`lower` folds the field onto an auxiliary spin if the machine has no field, flips spins at random
(a gauge) on request, and rounds to integer levels. `Lowering.lift` undoes the first two steps. For
every spin vector :math:`\sigma'` of the machine:

.. math:: E(\mathrm{lift}\,\sigma') = s\,E'(\sigma') + E_0 + \varepsilon,
          \qquad |\varepsilon| \le \text{energy\_error\_bound}

with :math:`s` the value of one level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import CapabilityError, ModelError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.model.conversion import real_array, real_couplings, require, whole_number
from cim_hal.model.energies import check_range, exact_sum, largest
from cim_hal.model.ising import check_model
from cim_hal.model.packed import PackedValues
from cim_hal.model.record import LoweringReport
from cim_hal.model.triangle import Triangle, pieces
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from cim_hal.model.conversion import CsrArray
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.packed import Values

__all__ = [
    "Levels",
    "Lowering",
    "Quantized",
    "agreed_bits",
    "lower",
    "lower_couplings",
    "max_level",
    "quantize",
]

# int16 levels, or float64 for a machine that takes real numbers.
Levels: TypeAlias = "NDArray[Any] | CsrArray"
MAX_BITS = 16  # of a level
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Lowering:
    """A model in the terms of a machine; its arrays are read-only.

    Attributes
    ----------
    levels : Triangle or CSR array
        Couplings in the smallest type that holds them, perhaps one or two bits.
    field : array, shape (n',)
        In the same units; zero if the machine has no field.
    gauge : int8 array, shape (n',)
        Spin i of the machine is ``gauge[i]`` times that of the model.
    report : LoweringReport
    """

    levels: Triangle | CsrArray
    field: NDArray[Any]
    gauge: NDArray[np.int8]
    report: LoweringReport

    @property
    def coupling(self) -> Levels:
        """Couplings (n', n'): int16 levels, or float64 for a machine that takes real numbers.

        Dense ones are a new array each time.
        """
        if not isinstance(self.levels, Triangle):
            return self.levels
        matrix = self.levels.dense(np.float64 if self.report.bits is None else np.int16)
        matrix.flags.writeable = False
        return matrix

    @property
    def n_spins(self) -> int:
        """Spins on the machine, n'."""
        return len(self.gauge)

    def lift(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn spins or amplitudes of the machine (..., n') into the model's (..., n)."""
        require("values", values, np.ndarray, ModelError, hint="pass an array")
        if values.dtype.kind not in "iuf" or values.shape[-1:] != self.gauge.shape:
            what = f"values of type {values.dtype} and shape {values.shape}"
            raise ModelError(what, hint=f"pass numbers of {counted(self.n_spins, 'spin')}")
        lifted: NDArray[Scalar] = np.multiply(values, self.gauge, dtype=values.dtype)
        if not self.report.field_spin:
            return lifted
        reference = np.where(np.less(lifted[..., -1:], 0), -1, 1)
        return np.multiply(lifted[..., :-1], reference, dtype=values.dtype)


def lower(
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    gauge_seed: int | None = None,
) -> Lowering:
    """Express `model` in the terms of a machine.

    Parameters
    ----------
    bits : int, optional
        Bits of a coupling; by default, and at most, those of the machine.
    gauge_seed : int, optional
        Seed of a random gauge; by default there is none.

    Raises
    ------
    CapabilityError
        Too many spins or too many bits for the machine.
    ModelError
        A value is of another kind.
    """
    check_model(model)
    require("capabilities", capabilities, Capabilities, ModelError, hint="pass a Capabilities")
    bits = None if bits is None else whole_number("bits", bits, ModelError)
    if gauge_seed is not None:
        gauge_seed = whole_number("gauge_seed", gauge_seed, ModelError, 0)
    J = Triangle.of(model.J) if isinstance(model.J, np.ndarray) else model.J
    return lower_couplings(J, model.h, capabilities, bits=bits, gauge_seed=gauge_seed)


def lower_couplings(
    J: Triangle | CsrArray,
    h: NDArray[np.float64],
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    gauge_seed: int | None = None,
) -> Lowering:
    """Lower couplings, a `Triangle` or a symmetric CSR array (n, n), and a field; see `lower`.

    `ModelError` if they are out of the range of any model.
    """
    n_spins = len(h)
    check_range(J.values if isinstance(J, Triangle) else np.asarray(J.data), h)
    folds_field = bool(h.any()) and not capabilities.has_field
    _check_size(n_spins + folds_field, n_spins, capabilities)
    bits = agreed_bits(bits, capabilities)
    field_bits = bits if folds_field else capabilities.field_bits or bits
    if folds_field and not isinstance(J, Triangle):
        J, h = _with_field_spin(J, h)
    values = J.values if isinstance(J, Triangle) else np.asarray(J.data)
    levels, field, step = _rounded(values, h, bits, field_bits)
    size = n_spins + folds_field
    report = LoweringReport(
        bits=bits,
        step=step,
        levels_used=None if bits is None else _levels_used(levels, *[field] * folds_field),
        field_spin=folds_field,
        gauge=gauge_seed is not None,
        machine_spins=size,
        **_errors(J, h, levels, field, step, folds=folds_field),
    )
    gauge = _gauge(size, gauge_seed)
    if not isinstance(J, Triangle):
        data = np.asarray(levels, np.float64 if bits is None else np.int16)
        matrix = scipy.sparse.csr_array((data, J.indices, J.indptr), shape=(size, size))
        return _frozen(Lowering(_flip(matrix, gauge), field * gauge, gauge, report))
    triangle = Triangle(n_spins, levels)
    if folds_field:
        is_small = field.dtype == np.int16 and largest(field) < 2**7
        border = field.astype(np.int8) if is_small else field
        triangle, field = triangle.bordered(border), np.zeros(size, field.dtype)
    if not (gauge == 1).all():
        triangle = triangle.flipped(gauge)
    return _frozen(Lowering(triangle, field * gauge, gauge, report))


def _frozen(lowering: Lowering) -> Lowering:
    levels = lowering.levels
    values = levels.values if isinstance(levels, Triangle) else np.asarray(levels.data)
    for array in (values, lowering.field, lowering.gauge):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return lowering


def _check_size(required: int, n_spins: int, capabilities: Capabilities) -> None:
    if required > capabilities.max_spins:
        folded = "the field takes one auxiliary spin" if required > n_spins else ""
        raise CapabilityError(
            "max_spins", required=required, available=capabilities.max_spins, hint=folded
        )


def agreed_bits(bits: int | None, capabilities: Capabilities) -> int | None:
    """Return the bits of a coupling: those asked for, by default and at most the machine's."""
    available = capabilities.coupling_bits
    if bits is None:
        return available
    if bits < 2 or bits > (available or MAX_BITS):
        raise CapabilityError(
            "coupling_bits", required=bits, available=f"2 to {available or MAX_BITS}"
        )
    return bits


def _with_field_spin(J: CsrArray, h: NDArray[Any]) -> tuple[CsrArray, NDArray[Any]]:
    """Return couplings with one more spin that stands for the field, and no field."""
    column = scipy.sparse.csr_array(h[:, None])
    folded = scipy.sparse.csr_array(scipy.sparse.block_array([[J, column], [column.T, None]]))
    return folded, np.zeros(len(h) + 1)


def _rounded(
    values: Values, h: NDArray[Any], bits: int | None, field_bits: int | None
) -> tuple[Values, NDArray[Any], float]:
    """Return the levels of couplings and field, and the step.

    Couplings are int8 where those and their negatives fit; integers that are levels stay as they
    are, perhaps packed.
    """
    if bits is None or field_bits is None:
        return values, h, 1.0
    step = _step(values, h, max_level(bits), max_level(field_bits))
    dtype = np.dtype(np.int8 if round(largest(values) / step) < 2**7 else np.int16)
    is_level = step == 1 and values.dtype == dtype
    levels = values if is_level else _levels(np.asarray(values), step, dtype)
    return levels, _levels(h, step), step


def _errors(
    J: Triangle | CsrArray,
    h: NDArray[Any],
    levels: Values,
    field: NDArray[Any],
    step: float,
    *,
    folds: bool,
) -> dict[str, float]:
    """Return the rounding errors for the report; `folds` makes the field a spin."""
    # Each pair stands twice in the matrix, once in a triangle, and counts once in the energy.
    is_triangle = isinstance(J, Triangle)
    couplings = J.values if is_triangle else np.asarray(J.data), levels
    size = len(h) + (folds and is_triangle)

    def errors(of_couplings: int = 1, of_field: int = 1) -> Iterator[tuple[int, NDArray[Any]]]:
        for weight, both in ((of_couplings, couplings), (of_field, (h, field))):
            for off in _off(*both, step):
                yield weight, off

    peak = max((float(off.max(initial=0.0)) for _, off in errors()), default=0.0)
    if peak == 0.0:
        return {"max_error": 0.0, "rms_error": 0.0, "energy_error_bound": 0.0}
    n_numbers = size * (size + 1)
    copies = 2 if is_triangle else 1
    squares = ((w, (off / peak) ** 2) for w, off in errors(copies, copies if folds else 1))
    shares = ((w, off / peak) for w, off in errors(copies, 2))
    return {
        "max_error": peak,
        "rms_error": peak * math.sqrt(exact_sum(squares, 2 * n_numbers) / n_numbers),
        "energy_error_bound": 0.5 * peak * exact_sum(shares, 2 * n_numbers),
    }


def _off(values: Values, levels: Values, step: float) -> Iterator[NDArray[np.float64]]:
    """Yield the magnitudes of the rounding errors in pieces."""
    if levels is values:
        return
    for piece, rounded in zip(pieces(values), pieces(levels), strict=True):
        off = np.multiply(rounded, -step, dtype=np.float64)
        off += piece
        yield np.abs(off, out=off)


def _gauge(n_spins: int, seed: int | None) -> NDArray[np.int8]:
    if seed is None:
        return np.ones(n_spins, dtype=np.int8)
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), n_spins)


def _flip(J: CsrArray, gauge: NDArray[np.int8]) -> CsrArray:
    if (gauge == 1).all():
        return J
    flipped = scipy.sparse.csr_array((J.data.copy(), J.indices, J.indptr), shape=J.shape)
    flipped.data *= np.repeat(gauge, np.diff(J.indptr))
    flipped.data *= gauge[J.indices]
    return flipped


def _values(matrix: Levels) -> NDArray[Any]:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.data)


def _levels_used(*parts: Values) -> int:
    seen = np.zeros(2**16, dtype=bool)  # a table: 4x faster than np.unique at 2000 x 2000
    seen[0] = True  # the diagonal
    for levels in parts:
        for piece in pieces(levels):
            if isinstance(levels, PackedValues) and seen[[-1, 1]].all():
                break  # there are no others
            seen[piece.astype(np.intp)] = True  # negative ones count from the end
    return int(np.count_nonzero(seen))


def max_level(bits: int) -> int:
    """Return the largest integer level of a signed, symmetric b-bit coupling."""
    return 2 ** (whole_number("bits", bits, ModelError, 1, 64) - 1) - 1


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integer levels of couplings and field and the value of one level.

    Attributes
    ----------
    levels : int16 array of the shape of the couplings, or CSR array of int16
    field_levels : int16 array, shape (n,)
    step : float
        ``J`` is within ``step / 2`` of ``step * levels``, entry by entry, and so is ``h``.
    """

    levels: NDArray[np.int16] | CsrArray
    field_levels: NDArray[np.int16]
    step: float


def quantize(
    J: NDArray[Any] | CsrArray, h: NDArray[np.float64], *, bits: int, field_bits: int
) -> Quantized:
    """Round couplings `J` (CSR, or an array of any shape) and field `h` (n,) to integer levels.

    The step is the smallest that clips nothing. Integers within range are kept exactly.

    Parameters
    ----------
    bits, field_bits : int
        Bits of a coupling and of a field, sign included, 2 to 16.

    Raises
    ------
    ModelError
        A number is not finite or float64 would round it, or bits are out of range.
    """
    J, h = real_couplings("J", J, ModelError), real_array("h", h, ModelError)
    for name, n_bits in (("bits", bits), ("field_bits", field_bits)):
        whole_number(name, n_bits, ModelError, 2, MAX_BITS)
    if h.ndim != 1:
        raise ModelError(f"h has the shape {h.shape}", hint="pass one number for each spin")
    if not np.isfinite([largest(_values(J)), largest(h)]).all():
        raise ModelError("J or h has a number that is not finite")
    rounded, field, step = _rounded(_values(J), h, bits, field_bits)
    values, field = np.asarray(rounded, np.int16), field.astype(np.int16)
    if isinstance(J, np.ndarray):
        return Quantized(values, field, step)
    levels = scipy.sparse.csr_array((values, J.indices, J.indptr), shape=J.shape, copy=True)
    return Quantized(levels, field, step)


def _levels(values: NDArray[Any], step: float, dtype: DTypeLike = np.int16) -> NDArray[Any]:
    levels = np.empty(values.shape, dtype)
    # By pieces: 3x faster than at once for 2000 spins.
    for piece, out in zip(pieces(values.ravel()), pieces(levels.reshape(-1)), strict=True):
        real = np.divide(piece, step, dtype=np.float64)
        out[...] = np.rint(real, out=real)
    return levels


def _step(values: Values, h: NDArray[Any], top: int, field_top: int) -> float:
    peak, field_peak = largest(values), largest(h)
    if peak == field_peak == 0.0:
        return 1.0
    fits = peak <= top and field_peak <= field_top
    if fits and _are_integers(values) and _are_integers(h):
        return 1.0
    # A subnormal maximum would make a step of zero: never below the smallest normal number.
    return max(peak / top, field_peak / field_top, float(np.finfo(np.float64).tiny))


def _are_integers(values: Values) -> bool:
    if values.dtype.kind == "i":
        return True
    return all((part == np.rint(part)).all() for part in pieces(np.asarray(values).ravel()))
