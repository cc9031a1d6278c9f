r"""Noisy mean-field annealing: what remains of a CIM when its optics is arithmetic.

References
----------
King, Bernoudy, King, Berkley, Lanting, "Emulating the coherent Ising machine with a mean-field
algorithm" (2018), arXiv:1806.08422.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.dynamics.base import (
    Block,
    Dynamics,
    JobInputs,
    Precision,
    check_options,
    state_dtype,
)
from emulator.elementary import tanh
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.spectrum import LEAST_FIELD_WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = ["AnnealingBlock", "NoisyMeanFieldAnnealing", "advance_annealing", "row_norms"]


class AnnealingConstants(NamedTuple):
    """Scalars of `advance_annealing`, all of the state's dtype."""

    inverse_temperature: Any
    noise: Any
    kept: Any
    taken: Any


@njit(cache=True, nogil=True, error_model="numpy")
def advance_annealing(  # noqa: PLR0917  a kernel takes arrays
    x: NDArray[Any],
    product: NDArray[Any],
    field: NDArray[Any],
    scale: NDArray[Any],
    noise: NDArray[Any],
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    c: AnnealingConstants,
) -> None:
    """Bring every mean spin nearer to that of its noisy local field; `x` (n, runs), n even.

    `field` (n,) is in units of row norms, `scale` (n,) one over them; `noise` (2, runs) is scratch.
    """
    for pair in range(len(x) // 2):
        fill_normal_pair(key, round_trip, pair, first_run, noise[0], noise[1])
        for side in range(2):
            i = 2 * pair + side
            means, products, kick, h, unit = x[i], product[i], noise[side], field[i], scale[i]
            for r in range(len(means)):
                local_field = unit * products[r] + h + c.noise * kick[r]
                aligned = tanh(c.inverse_temperature * local_field)
                means[r] = c.kept * means[r] + c.taken * aligned


def row_norms(coupling: CouplingMatrix, field_weight: float) -> NDArray[np.float64]:
    r"""Return :math:`\sqrt{w^2h_i^2 + \sum_jJ_{ij}^2}` in units of the stored values, 1 for no row.

    w is 0.001 at least: a spin may have a field and no couplings.
    """
    squares = coupling.as_floats(coupling.dtype).row_squares()
    norms = np.sqrt(squares + (max(field_weight, LEAST_FIELD_WEIGHT) * coupling.field) ** 2)
    return np.where(norms > 0, norms, 1.0)


@dataclass(frozen=True, kw_only=True)
class NoisyMeanFieldAnnealing(Dynamics):
    r"""NMFA: mean spins in noisy local fields, cooled as the pump rises.

    .. math:: x_i \leftarrow (1 - \alpha)\,x_i + \alpha\tanh\Big(g\,p\Big[
              \frac{\sum_jJ_{ij}x_j + h_i}{\sqrt{\sum_jJ_{ij}^2 + w^2h_i^2}} + s\,w_i\Big]\Big)

    The pump takes the place of an inverse temperature, :math:`1/T = g\,p`. A lone spin has no
    threshold; a mode of eigenvalue :math:`\lambda` of the row-normalized couplings leaves x = 0
    at :math:`p = 1 / g\lambda`. With g = 1/2, p = 1 is the threshold of a large spin glass, whose
    spectrum ends at :math:`\lambda = 2`. Runs start from zero.

    Parameters
    ----------
    coupling_gain : float
        g.
    mixing : float
        Largest :math:`\alpha`, from above 0 to 1.
    stability : float
        :math:`\alpha` is at most this share of :math:`2 / (1 - \lambda_{min}g\,p)`, beyond which
        the mode of the lowest eigenvalue flips its sign at every step; infinite for the paper's
        constant :math:`\alpha`.
    noise : float
        s, in units of a row's norm.
    field_weight : float
        w, from 0 to 1; the paper has 1.
    precision : {"single", "double"}

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = 0.5
    mixing: float = 0.5
    stability: float = 0.9
    noise: float = 0.15
    field_weight: float = 0.0
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "mixing": 0 < self.mixing <= 1,
            "stability": self.stability > 0,
            "noise": 0 <= self.noise < math.inf,
            "field_weight": 0 <= self.field_weight <= 1,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def largest_code(self) -> float | None:
        """None: mean spins are fed back as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> AnnealingBlock:
        """Return a block of runs at infinite temperature."""
        return AnnealingBlock(self, inputs, n_runs=n_runs, first_run=first_run)


class AnnealingBlock(Block):
    """A block of runs of noisy mean-field annealing.

    Attributes
    ----------
    x : array, shape (n or n + 1, runs)
        Mean spins. An odd machine has one more, coupled to none.
    """

    def __init__(
        self, dynamics: NoisyMeanFieldAnnealing, inputs: JobInputs, *, first_run: int, n_runs: int
    ) -> None:
        dtype, n_spins = state_dtype(dynamics.precision), inputs.n_spins
        self.x = np.zeros((n_spins + n_spins % 2, n_runs), dtype)
        self._product = np.zeros(self.x.shape, inputs.coupling.dtype)
        norms = row_norms(inputs.coupling, dynamics.field_weight)
        # rows of equal norm make this that of the normalized couplings; others a bit less
        strength = inputs.norms.natural_strength(dynamics.field_weight)
        self._lowest = min(inputs.lowest_eigenvalue * strength, 0.0)
        self._scale, self._field = np.zeros((2, len(self.x)), dtype)
        self._scale[:n_spins] = 1 / norms
        self._field[:n_spins] = inputs.coupling.field / norms
        self._scratch = np.zeros((2, n_runs), dtype)
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._round_trip = 1

    def advance(self, pump: float) -> None:
        """Make one step at the temperature of this pump."""
        x = self.amplitudes()
        self._inputs.coupling.multiply(x, self._product[: len(x)])
        advance_annealing(
            self.x,
            self._product,
            self._field,
            self._scale,
            self._scratch,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            self._constants(pump),
        )
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x[: self._inputs.n_spins]

    def _constants(self, pump: float) -> AnnealingConstants:
        dynamics, scalar = self._dynamics, self.x.dtype.type
        inverse_temperature = dynamics.coupling_gain * pump
        mixing = dynamics.mixing
        if math.isfinite(dynamics.stability):
            stable = 2.0 / (1.0 - self._lowest * inverse_temperature)
            mixing = min(mixing, dynamics.stability * stable)
        return AnnealingConstants(
            inverse_temperature=scalar(inverse_temperature),
            noise=scalar(dynamics.noise),
            kept=scalar(1 - mixing),
            taken=scalar(mixing),
        )
