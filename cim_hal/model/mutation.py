r"""Change coefficients within what keeps the optimum, until they are few enough levels.

Two kinds of changes are known to keep it:

- A coefficient that decides alone. Where :math:`|J_{ij}| > R_i`, the sum of all other magnitudes
  at spin i, every ground state has :math:`\sigma_i\sigma_j = \operatorname{sign} J_{ij}`, and so it
  has for any other magnitude above :math:`R_i`: the ground states stay the same. It needs no ground
  state to be known, and serves models of any size.
- A coefficient :math:`v` of :math:`\varphi` (:math:`\sigma_i\sigma_j` or :math:`\sigma_i`) may
  become :math:`v + \delta` while :math:`D + 2\delta` keeps the sign of
  :math:`D = \min_{\varphi=-1} E - \min_{\varphi=+1} E`. The minima are found by trying all
  configurations, so that this is for small models, to learn what few bits could do.

References
----------
S. Mücke, T. Gerlach, N. Piatkowski, Quantum Mach. Intell. 7 (2025), arXiv:2307.02195, for QUBOs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.coefficients import (
    magnitude_sums,
    magnitudes,
    model_of,
    pairs_of,
    unit_of,
)
from cim_hal.model.conversion import whole_number
from cim_hal.model.enumeration import MAX_SPINS, all_energies
from cim_hal.model.ising import IsingModel, check_model
from cim_hal.model.pairs import Pairs
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MutatedModel", "mutate"]

PASSES = 1000


@dataclass(frozen=True, eq=False)
class MutatedModel:
    """Integers of which every ground state is an optimum of the original.

    Attributes
    ----------
    model : IsingModel
    step : float
        Value of one level, in the units of the original.
    """

    model: IsingModel
    step: float


def mutate(model: IsingModel, top: int, field_top: int | None = None) -> MutatedModel:
    """Change a model to integers of at most `top`, fields of at most `field_top`.

    Couplings that are zero stay zero.

    Raises
    ------
    ModelError
        It cannot be proven that the optimum is kept: the model is too large to try all
        configurations, and still needs rounding when coefficients that decide alone are small.
    """
    check_model(model)
    top = whole_number("top", top, ModelError, 1)
    field_top = whole_number("field_top", top if field_top is None else field_top, ModelError, 1)
    pairs, h = _decisive_made_small(pairs_of(model), model.h.copy())
    peak = max(np.abs(pairs.values).max(initial=0) / top, np.abs(h).max(initial=0) / field_top)
    unit = unit_of(pairs.values, h)
    if unit is not None and peak <= unit:
        levels = Pairs(pairs.rows, pairs.columns, pairs.values / unit)
        return MutatedModel(model_of(levels, h / unit, is_sparse=model.is_sparse), unit)
    if model.n_spins > MAX_SPINS:
        needs = "have no unit of which all are multiples"
        if unit is not None:
            needs = f"need {np.ceil(peak / unit):g} times the {counted(top, 'level')}"
        raise ModelError(
            f"the optimum of {counted(model.n_spins, 'spin')}"
            f" is not proven to be kept: the numbers {needs}, "
            "with those that decide alone made small",
            hint=f"up to {MAX_SPINS} spins it is proven by trying all; splitting proves it for any",
        )
    return _rounded(model, pairs, h, peak, (top, field_top))


def _decisive_made_small(pairs: Pairs, h: NDArray[np.float64]) -> tuple[Pairs, NDArray[np.float64]]:
    """Return coefficients of which none is larger than it has to be to decide alone.

    It stays above the others by the smallest magnitude of all, so that integers stay integers.
    """
    least, values = float(magnitudes(pairs, h).min()), pairs.values.copy()
    for _ in range(PASSES):
        now = Pairs(pairs.rows, pairs.columns, values)
        sums = magnitude_sums(now, h)
        of_pair = np.minimum(sums[pairs.rows], sums[pairs.columns]) - np.abs(values) + least
        of_field = sums - np.abs(h) + least
        smaller = np.sign(values) * np.minimum(np.abs(values), of_pair)
        field = np.sign(h) * np.minimum(np.abs(h), of_field)
        if np.allclose(smaller, values, rtol=1e-12) and np.allclose(field, h, rtol=1e-12):
            break
        values, h = smaller, field
    return Pairs(pairs.rows, pairs.columns, values), h


def _rounded(
    model: IsingModel,
    pairs: Pairs,
    h: NDArray[np.float64],
    step: float,
    tops: tuple[int, int],
) -> MutatedModel:
    """Round one coefficient after the other, each to the nearest level that keeps the optimum.

    The step clips nothing, so that there is always one: away from zero, or towards it, in the
    direction that lowers the optimum.
    """
    energies = all_energies(model_of(pairs, h, is_sparse=False))
    n, values, field = len(h), pairs.values.copy(), h.copy()
    for k in np.argsort(-np.abs(values), kind="stable").tolist():
        i, j, J_ij = int(pairs.rows[k]), int(pairs.columns[k]), float(values[k])
        view = energies.reshape(2 ** (n - 1 - j), 2, 2 ** (j - 1 - i), 2, 2**i)
        values[k] = _nearest(view, ((1, 1), (0, 0)), ((0, 1), (1, 0)), J_ij, step, tops[0])
    for i in np.flatnonzero(field).tolist():
        view, h_i = energies.reshape(2 ** (n - 1 - i), 2, 1, 1, 2**i), float(field[i])
        field[i] = _nearest(view, ((1, 0),), ((0, 0),), h_i, step, tops[1])
    found = MutatedModel(
        model_of(Pairs(pairs.rows, pairs.columns, values), field, is_sparse=model.is_sparse), step
    )
    _check(model, found)
    return found


Places = tuple[tuple[int, int], ...]


def _nearest(  # noqa: PLR0917  a coefficient, and where its two signs are
    view: NDArray[np.float64], up: Places, down: Places, value: float, step: float, top: int
) -> float:
    """Return the level nearest to a coefficient that keeps the optimum; change the energies to it.

    `view` are all energies, of which those at `up` have the coefficient with a minus.
    """
    lead = min(view[:, a, :, b].min() for a, b in down) - min(view[:, a, :, b].min() for a, b in up)
    level = float(np.clip(np.rint(value / step), -top, top))
    tie = 1e-9 * step
    if lead > tie:  # not further down than half of it, but for a little
        level = min(max(level, float(np.ceil((value - 0.5 * lead) / step + 1e-6))), top)
    elif lead < -tie:
        level = max(min(level, float(np.floor((value - 0.5 * lead) / step - 1e-6))), -top)
    change = level * step - value
    for a, b in up:
        view[:, a, :, b] -= change
    for a, b in down:
        view[:, a, :, b] += change
    return level


def _check(model: IsingModel, found: MutatedModel) -> None:
    """Try all configurations of the levels: sums of integers, so that none is rounded."""
    before, after = all_energies(model), all_energies(found.model)
    is_ground = after == after.min()
    if (before[is_ground] > before.min() + model.energy_tolerance).any():
        raise ModelError("no levels were found that keep the optimum", hint="take more bits")
