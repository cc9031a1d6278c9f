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

from emulator.dynamics.base import (
    Block,
    Dynamics,
    JobInputs,
    Precision,
    coupling_gain_option,
    field_weight_option,
    precision_option,
    state_dtype,
)
from emulator.dynamics.kernel import kernel
from emulator.elementary import tanh
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.options import (
    NON_NEGATIVE,
    POSITIVE_OR_INFINITE,
    POSITIVE_SHARE,
    documented,
    option,
)
from emulator.preset import algorithm
from emulator.spectrum import LEAST_FIELD_WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim
    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "AnnealingBlock",
    "NoisyMeanFieldAnnealing",
    "advance_annealing",
    "noisy_mean_field_annealing",
    "row_norms",
]


# The recommended pump: from infinite temperature to a sixth of the critical one of a spin glass.
COOLING = (0.0, 6.0)
COLDEST = 20.0


class AnnealingConstants(NamedTuple):
    """Scalars of `advance_annealing`, all of the state's dtype."""

    inverse_temperature: Any
    noise: Any
    kept: Any
    taken: Any


@kernel
def advance_annealing(
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


@documented
@dataclass(frozen=True, kw_only=True)
class NoisyMeanFieldAnnealing(Dynamics):
    r"""NMFA: mean spins in noisy local fields, cooled as the pump rises.

    .. math:: x_i \leftarrow (1 - \alpha)\,x_i + \alpha\tanh\Big(g\,p\Big[
              \frac{\sum_jJ_{ij}x_j + h_i}{\sqrt{\sum_jJ_{ij}^2 + w^2h_i^2}} + s\,w_i\Big]\Big)

    The pump takes the place of an inverse temperature, :math:`1/T = g\,p`. A lone spin has no
    threshold; a mode of eigenvalue :math:`\lambda` of the row-normalized couplings leaves x = 0
    at :math:`p = 1 / g\lambda`. With g = 1/2, p = 1 is the threshold of a large spin glass, whose
    spectrum ends at :math:`\lambda = 2`. Runs start from zero.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(0.5)
    field_weight: float = field_weight_option(0.0, note="The paper has 1.")
    mixing: float = option(
        0.5,
        within=POSITIVE_SHARE,
        low=0.01,
        high=1.0,
        log=True,
        symbol=r"\alpha",
        doc="""Share of an amplitude that is renewed in a round trip.
Smaller where `stability` demands it.""",
    )
    noise: float = option(
        0.15,
        within=NON_NEGATIVE,
        low=0.0,
        high=1.0,
        symbol="s",
        doc="Width of the noise, in units of a spin's couplings.",
    )
    stability: float = option(
        0.9,
        within=POSITIVE_OR_INFINITE,
        doc=r"""Largest share of :math:`2 / (1 - \lambda_{min}g\,p)` that the mixing may reach.
Beyond this limit the mode of the lowest eigenvalue flips its sign at every step. Infinite for
the paper's constant mixing.""",
    )
    precision: Precision = precision_option()

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


def noisy_mean_field_annealing() -> EmulatedCim:
    """Return NMFA: `NoisyMeanFieldAnnealing`, whose pump is an inverse temperature."""
    return algorithm(
        "nmfa",
        "Noisy mean-field annealing",
        NoisyMeanFieldAnnealing(),
        pump=COOLING,
        highest_pump=COLDEST,
    )
