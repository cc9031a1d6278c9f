r"""The static errors of one machine: by pulse, by transition of its ADC, by coupling.

They have a key of their own: seeds of jobs end below 2^63, and that of a machine is 2^63 or more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # not scipy.special: it takes 0.2 s, and machines without such errors do not need it

from emulator.imperfections import JOB, Imperfections
from emulator.kernel import kernel
from emulator.noise import Draw, NoiseKey, fill_normals, normal_pair
from emulator.products.dense import DenseFloats

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = ["Disorder", "disturbed", "drawn_once", "machine_seed"]


def machine_seed(seed: int) -> int:
    """Return the seed of the static errors of machine `seed`: that of no job."""
    return seed | 2**63


# Counter words of static errors by pulse; those below 2^17 are rows of couplings.
INJECTION_GAIN, PUMP_AMPLITUDE, DETECTOR_GAIN, DEATH, TRANSITIONS = (
    2**31 + word for word in range(5)
)
MOST_DNL_BITS = 16


class Disorder(NamedTuple):
    """Static errors by pulse, arrays of shape (n,), n even.

    Attributes
    ----------
    injection_gain, pump_scale, detector_gain : array
        Factors, 1 where nothing is wrong; the pump of a dead slot is 0.
    is_dead : bool array
    transitions : array
        How far those of the ADC are off, in its steps, from the lowest one on: one more than it
        has codes, the first and the last 0. Empty where none is.
    """

    injection_gain: NDArray[Any]
    pump_scale: NDArray[Any]
    detector_gain: NDArray[Any]
    is_dead: NDArray[np.bool_]
    transitions: NDArray[Any]

    def notes(self, n_spins: int) -> dict[str, float | str]:
        """Return how many of the first pulses are dead; nothing where none is."""
        n_dead = int(np.count_nonzero(self.is_dead[:n_spins]))
        return {"dead_pulses": n_dead} if n_dead else {}

    @classmethod
    def of(
        cls,
        imperfections: Imperfections,
        n_spins: int,
        dtype: DTypeLike,
        *,
        n_codes: int = 0,
        job: NoiseKey | None = None,
    ) -> Disorder:
        """Draw the errors of the first spins, the same in every job but for `calibration_drift`.

        `n_codes` are those of the ADC, `job` the key of the job.
        """
        options, n_pulses = imperfections, n_spins + n_spins % 2
        machine = NoiseKey.from_seed(machine_seed(options.seed))

        def drawn(word: int, n: int = n_pulses) -> NDArray[np.float64]:
            return drawn_once(machine, word, n)

        def calibrated(word: int) -> NDArray[np.float64]:
            static, drift = drawn(word), options.calibration_drift
            if job is None or not drift:
                return static
            of_job = drawn_once(job, JOB | (word - INJECTION_GAIN + 1), n_pulses)
            return math.sqrt(1 - drift * drift) * static + drift * of_job

        slots = options.train_pulses or options.reference_pulses + n_spins
        slot = options.reference_pulses + np.arange(n_pulses)
        left = 1 - options.pump_depletion * slot / max(slots - 1, 1)
        is_dead = drawn(DEATH) < scipy.special.ndtri(options.dead_fraction)
        is_dead[[pulse for pulse in options.dead_pulses if pulse < n_pulses]] = True
        pump_scale = (1 + options.pump_error * calibrated(PUMP_AMPLITUDE)) * left
        return cls(
            (1 + options.injection_gain_error * calibrated(INJECTION_GAIN)).astype(dtype),
            np.where(is_dead, 0, pump_scale).astype(dtype),
            (1 + options.detector_gain_error * calibrated(DETECTOR_GAIN)).astype(dtype),
            is_dead,
            _transitions(options.adc_dnl, n_codes, drawn).astype(dtype),
        )


def drawn_once(key: NoiseKey, word: int, n: int) -> NDArray[np.float64]:
    """Return the n normals of a key under a counter word."""
    values = np.empty((n + n % 2, 1), np.float32)
    fill_normals(Draw(key, word, 0), values)
    return values[:n, 0].astype(float)


def _transitions(
    width: float, n_codes: int, drawn: Callable[[int, int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    if not width or not 0 < n_codes <= 2**MOST_DNL_BITS:
        return np.zeros(0)
    errors = np.clip(width * drawn(TRANSITIONS, n_codes + 1), -1.0, 1.0)
    errors[[0, -1]] = 0
    return errors


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
    dense or sparse couplings. Without an error the couplings are returned as they are.
    """
    if not imperfections.coupling_error:
        return coupling
    dtype = np.dtype(dtype)
    key = NoiseKey.from_seed(machine_seed(imperfections.seed))
    error = dtype.type(imperfections.coupling_error)
    floats = coupling.as_floats(dtype, copy=True)
    if isinstance(floats, DenseFloats):
        _disturb_rows(key, error, floats.values)
    else:
        _disturb_sparse(key, error, *floats)
    return coupling.with_floats(floats)
