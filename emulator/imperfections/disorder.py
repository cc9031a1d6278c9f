r"""The static errors of one machine: by pulse, and by coupling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from emulator.dynamics.kernel import kernel
from emulator.imperfections.streams import machine_key, machine_seed
from emulator.noise import NoiseKey, normal_pair, normals
from emulator.products.dense_float import DenseFloats

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.imperfections.options import Imperfections
    from emulator.products.coupling import CouplingMatrix

__all__ = ["Disorder", "disturbed"]

# Counter words of static errors by pulse; those below 2^17 are rows of couplings.
INJECTION_GAIN, PUMP_AMPLITUDE, DETECTOR_GAIN, DEATH = (2**31 + word for word in range(4))


class Disorder(NamedTuple):
    """Static errors by pulse, arrays of shape (n,), n even.

    Attributes
    ----------
    injection_gain, pump_scale, detector_gain : array
        Factors, 1 where nothing is wrong.
    is_dead : bool array
    """

    injection_gain: NDArray[Any]
    pump_scale: NDArray[Any]
    detector_gain: NDArray[Any]
    is_dead: NDArray[np.bool_]

    @classmethod
    def of(cls, imperfections: Imperfections, n_spins: int, dtype: DTypeLike) -> Disorder:
        """Draw the errors of the first spins; they are the same in every job."""
        options, n_pulses = imperfections, n_spins + n_spins % 2

        def drawn(word: int) -> NDArray[np.float64]:
            seed = machine_seed(options.seed)
            return normals(seed, round_trip=word, n_spins=n_pulses, n_runs=1)[:, 0].astype(float)

        slots = options.train_pulses or options.reference_pulses + n_spins
        slot = options.reference_pulses + np.arange(n_pulses)
        left = 1 - options.pump_depletion * slot / max(slots - 1, 1)
        is_dead = drawn(DEATH) < ndtri(options.dead_fraction)
        is_dead[[pulse for pulse in options.dead_pulses if pulse < n_pulses]] = True
        return cls(
            (1 + options.injection_gain_error * drawn(INJECTION_GAIN)).astype(dtype),
            ((1 + options.pump_error * drawn(PUMP_AMPLITUDE)) * left).astype(dtype),
            (1 + options.detector_gain_error * drawn(DETECTOR_GAIN)).astype(dtype),
            is_dead,
        )


@kernel
def _disturb_rows(key: NoiseKey, error: Any, values: NDArray[Any]) -> None:
    for i in range(len(values)):
        row = values[i]
        for pair in range(len(row) // 2):
            even, odd = normal_pair(key, np.uint32(i), np.uint32(pair), np.uint32(0))
            row[2 * pair] *= 1 + error * even
            row[2 * pair + 1] *= 1 + error * odd
        if len(row) % 2:
            even, _ = normal_pair(key, np.uint32(i), np.uint32(len(row) // 2), np.uint32(0))
            row[-1] *= 1 + error * even


@kernel
def _disturb_sparse(
    key: NoiseKey, error: Any, starts: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]
) -> None:
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            column = np.uint32(columns[k])
            even, odd = normal_pair(
                key, np.uint32(i), np.uint32(column >> np.uint32(1)), np.uint32(0)
            )
            values[k] *= 1 + error * (odd if column & np.uint32(1) else even)


def disturbed(
    coupling: CouplingMatrix, imperfections: Imperfections, dtype: DTypeLike
) -> CouplingMatrix:
    r"""Return couplings :math:`J_{ij}(1 + \epsilon_{ij})` in the same unit, as reals of `dtype`.

    Errors belong to the pair (i, j) of a machine: they are the same in every job, whether it has
    dense or sparse couplings.
    """
    dtype = np.dtype(dtype)
    key, error = machine_key(imperfections.seed), dtype.type(imperfections.coupling_error)
    floats = coupling.as_floats(dtype, copy=True)
    if isinstance(floats, DenseFloats):
        _disturb_rows(key, error, floats.values)
    else:
        _disturb_sparse(key, error, *floats)
    return coupling.with_floats(floats)
