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

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import (
    LEAST_FIELD_WEIGHT,
    Dynamics,
    JobInputs,
    Precision,
    natural_strength,
)
from emulator.dynamics.feedback import FeedbackLoop, TrackedBlock, feedback_loop, track_after
from emulator.dynamics.saturation import tanh
from emulator.kernel import kernel, kernel_part
from emulator.machine import EmulatedCim, algorithm, entry_point
from emulator.noise import Draw, at, fill_normal_pair
from emulator.options import NON_NEGATIVE, POSITIVE_OR_INFINITE, POSITIVE_SHARE, documented, option
from emulator.products.coupling import multiply_rows
from emulator.products.packing import aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "AnnealingBlock",
    "NoisyMeanFieldAnnealing",
    "noisy_mean_field_annealing",
    "row_norms",
]

# The recommended pump: from infinite temperature slowly to a sixth of the critical one of a spin
# glass, and on to a twentieth, where differences in energy are felt that constraints dwarf.
COOLING = (0.0, 2.0, 4.0, 6.0, 20.0)
COLDEST = 20.0


class AnnealingArrays(NamedTuple):
    """Mean spins and products (n, runs), n even; field and scale (n,); noise (2, runs) is scratch.

    The field is in units of row norms, and the scale is one over them.
    """

    x: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    scale: NDArray[Any]
    noise: NDArray[Any]


class Cooling(NamedTuple):
    """Series of one number a round trip: inverse temperature, shares that are kept and renewed."""

    inverse_temperature: NDArray[Any]
    kept: NDArray[Any]
    taken: NDArray[Any]


@kernel_part
def anneal(
    arrays: AnnealingArrays,
    draw: Draw,
    width: Any,
    inverse_temperature: Any,
    kept: Any,
    taken: Any,
) -> None:
    """Bring every mean spin nearer to that of its local field with noise of a `width`."""
    for pair in range(len(arrays.x) // 2):
        fill_normal_pair(draw, pair, arrays.noise[0], arrays.noise[1])
        for side in range(2):
            i = 2 * pair + side
            means, products, kick = arrays.x[i], arrays.product[i], arrays.noise[side]
            h, unit = arrays.field[i], arrays.scale[i]
            for r in range(len(means)):
                local_field = unit * products[r] + h + width * kick[r]
                means[r] = kept * means[r] + taken * tanh(inverse_temperature * local_field)


@kernel
def advance_annealing(
    loop: FeedbackLoop,
    arrays: AnnealingArrays,
    draw: Draw,
    width: Any,
    cooling: Cooling,
) -> None:
    """Make a round trip at each of the temperatures."""
    n_spins = len(loop.field_term.field)
    for step in range(len(cooling.kept)):
        multiply_rows(loop.operand, arrays.x[:n_spins], 0, arrays.product[:n_spins])
        inverse_temperature, kept = cooling.inverse_temperature[step], cooling.kept[step]
        now = at(draw, draw.round_trip + step)
        anneal(arrays, now, width, inverse_temperature, kept, cooling.taken[step])
        track_after(loop.tracker, arrays.x[:n_spins])


def row_norms(coupling: CouplingMatrix, field_weight: float) -> NDArray[np.float64]:
    r"""Return :math:`\sqrt{w^2h_i^2 + \sum_jJ_{ij}^2}` in units of the stored values, 1 for no row.

    w is 0.001 at least: a spin may have a field and no couplings.
    """
    squares = coupling.as_floats(coupling.dtype).row_squares()
    norms = np.sqrt(squares + (max(field_weight, LEAST_FIELD_WEIGHT) * coupling.field) ** 2)
    return np.where(norms > 0, norms, 1.0)


class AnnealingBlock(TrackedBlock):
    """A block of runs of noisy mean-field annealing."""

    def __init__(
        self, dynamics: NoisyMeanFieldAnnealing, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        dtype, n_padded, n_spins = dynamics.dtype, padded_runs(n_runs), inputs.n_spins
        # an odd machine has one more mean spin, coupled to none
        x, product = (aligned_zeros((n_spins + n_spins % 2, n_padded), dtype) for _ in range(2))
        super().__init__(x[:n_spins], feedback_loop(inputs.coupling, n_padded, dtype), n_runs)
        field, scale = np.zeros((2, len(x)), dtype)
        norms = row_norms(inputs.coupling, dynamics.field_weight) / inputs.coupling.gain_factor
        field[:n_spins], scale[:n_spins] = inputs.coupling.field / norms, 1 / norms
        self._arrays = AnnealingArrays(x, product, field, scale, np.zeros((2, n_padded), dtype))
        # rows of equal norm make this that of the normalized couplings; others a bit less
        strength = natural_strength(inputs.coupling, dynamics.field_weight)
        self._lowest = min(inputs.lowest_eigenvalue * strength, 0.0)
        self._draw, self._dynamics = Draw(inputs.key, 1, first_run), dynamics

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        width = self._x.dtype.type(self._dynamics.noise)
        cooling = self._dynamics.cooling(pumps, self._lowest)
        advance_annealing(self._loop, self._arrays, self._draw, width, cooling)
        self._draw = self._draw.after(len(pumps))


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
    """

    coupling_gain: float = shared.coupling_gain(0.5)
    field_weight: float = shared.field_weight(0.0, note="The paper has 1.")
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
    precision: Precision = shared.precision()

    block = AnnealingBlock

    def cooling(self, pumps: NDArray[np.float64], lowest: float) -> Cooling:
        """Return what changes from round trip to round trip; `lowest` is an eigenvalue, <= 0."""
        inverse_temperature = self.coupling_gain * pumps
        mixing = np.full(pumps.shape, float(self.mixing))
        if math.isfinite(self.stability):
            stable = 2.0 / (1.0 - lowest * inverse_temperature)
            mixing = np.minimum(mixing, self.stability * stable)
        series = inverse_temperature, 1 - mixing, mixing
        return Cooling(*(values.astype(self.dtype) for values in series))


@entry_point
def noisy_mean_field_annealing() -> EmulatedCim:
    """Return NMFA: `NoisyMeanFieldAnnealing`, whose pump is an inverse temperature."""
    dynamics = NoisyMeanFieldAnnealing()
    title = "Noisy mean-field annealing, for comparison with the literature"
    return algorithm(
        "nmfa",
        title,
        dynamics,
        pump=COOLING,
        highest_pump=COLDEST,
        fits_gain=True,
        weakens_penalties=False,  # it breaks them: two of eight portfolios more, but no knapsack
    )
