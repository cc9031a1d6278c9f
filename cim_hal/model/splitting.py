r"""Reduce the bit width of a model: large coefficients are shared with auxiliary spins.

An auxiliary spin :math:`a` is a copy of a spin :math:`i`: a coupling :math:`C_a > 0` links the two,
and it takes over parts :math:`p_j` of couplings :math:`J_{ij}`, and of the field, that are too
large for i alone. Whatever the other spins are,

.. math:: \min_{\sigma_a} E = E_{\text{without } a}(\sigma) - \Big|C_a \sigma_i + \sum_j p_j\sigma_j
          \Big| \;=\; E_{\text{whole}}(\sigma) - C_a \quad\text{where}\quad
          C_a \ge \sum_j |p_j|,

as then the magnitude is :math:`C_a + \sigma_i \sum_j p_j\sigma_j`. Copies are not coupled to each
other, so that this holds for all of them at once: every ground state of the larger model, read at
the spins of the smaller one, is one of its ground states, and each of these is found so.

That auxiliary spins reduce the bit width without changing the ground state is due to Oku et al.;
the construction and its proof here are ours.

References
----------
D. Oku, M. Tawada, S. Tanaka, N. Togawa, IEEE Trans. Comput. 71, 223 (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.coefficients import are_integers, model_of, pairs_of
from cim_hal.model.conversion import require, whole_number
from cim_hal.model.ising import IsingModel, check_model
from cim_hal.model.pairs import Pairs
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SplitModel"]

MAX_AUXILIARY = 100_000
FIELD = -1  # in the place of a partner
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class SplitModel:
    """A model of integers within bounds, with auxiliary spins; `of` makes it.

    Attributes
    ----------
    original : IsingModel
        The model that was split.
    model : IsingModel
        Its spins first, then the auxiliary ones. Energies differ by a constant where each of these
        equals its spin.
    copied : int array, shape (auxiliary spins,)
        The spin of which each auxiliary spin is a copy.
    """

    original: IsingModel
    model: IsingModel
    copied: NDArray[np.int64]

    @classmethod
    def of(cls, model: IsingModel, top: int, field_top: int | None = None) -> SplitModel:
        """Split the coefficients of a model of integers that are larger than `top`.

        Parameters
        ----------
        model : IsingModel
        top : int
            The largest magnitude of a coupling.
        field_top : int, optional
            That of a field; by default it is `top`.

        Raises
        ------
        ModelError
            A number of the model is no integer, or it would take too many auxiliary spins.
        """
        check_model(model)
        top = whole_number("top", top, ModelError, 1)
        field_top = whole_number(
            "field_top", top if field_top is None else field_top, ModelError, 1
        )
        pairs = pairs_of(model)
        if not are_integers(pairs.values, model.h):
            raise ModelError(
                "a number of the model is no integer below 2^53", hint="round it first"
            )
        copies = _Copies.of(pairs, model.h, top, field_top)
        return cls(model, copies.joined(pairs, model, top, field_top), np.array(copies.copied, int))

    def lift(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn spins or amplitudes of the split model (..., n') into the original's (..., n)."""
        self._check("values", values)
        return values[..., : self.original.n_spins]

    def broken(self, spins: NDArray[np.int8]) -> float:
        """Return the share of auxiliary spins that differ from the spin they are a copy of."""
        self._check("spins", spins)
        if not len(self.copied):
            return 0.0
        auxiliary = spins[..., self.original.n_spins :]
        return float(np.mean(auxiliary != spins[..., self.copied]))

    def _check(self, name: str, values: NDArray[np.generic]) -> None:
        require(name, values, np.ndarray, ModelError, hint="pass an array")
        if values.dtype.kind not in "iuf" or values.shape[-1:] != (self.model.n_spins,):
            what = f"{name} of type {values.dtype} and shape {values.shape}"
            raise ModelError(what, hint=f"pass numbers of {counted(self.model.n_spins, 'spin')}")


class _Copies:
    """The auxiliary spins, in the making: of which spin each is, its link, and its parts."""

    def __init__(self) -> None:
        self.copied: list[int] = []
        self.links: list[int] = []
        self.parts: list[tuple[int, int, int]] = []  # number of the copy, partner or FIELD, value

    @classmethod
    def of(cls, pairs: Pairs, h: NDArray[np.float64], top: int, field_top: int) -> _Copies:
        found = cls()
        for spin, excess in _excess(pairs, h, top, field_top).items():
            found._add(spin, excess, top, min(top, field_top))
        return found

    def _add(self, spin: int, excess: list[tuple[int, int]], top: int, field_top: int) -> None:
        """Share what a spin has too much among as few copies as can be, and evenly."""
        total = sum(abs(value) for _, value in excess)
        n_copies = -(-total // top)
        if len(self.copied) + n_copies > MAX_AUXILIARY:
            raise ModelError(f"it takes more than {MAX_AUXILIARY} auxiliary spins", hint="round it")
        share, room = -(-total // n_copies), 0
        for partner, value in excess:
            left, most = abs(value), field_top if partner == FIELD else top
            on_this = most  # of this partner, that the copy may still take
            while left:
                if not room or not on_this:
                    self.copied.append(spin)
                    self.links.append(0)
                    room, on_this = share, most
                part = min(left, room, on_this)
                self.parts.append((len(self.copied) - 1, partner, part if value > 0 else -part))
                self.links[-1] += part
                left, room, on_this = left - part, room - part, on_this - part

    def joined(self, pairs: Pairs, model: IsingModel, top: int, field_top: int) -> IsingModel:
        """Return the model with what the copies leave of its numbers, and the copies."""
        n, copied = model.n_spins, np.array(self.copied, np.int64)
        # Stronger by one than what could turn the copy, where there is a level for it.
        links = np.minimum(np.array(self.links, np.float64) + 1, top)
        h = np.r_[np.clip(model.h, -field_top, field_top), np.zeros(len(copied))]
        rows, columns = [pairs.rows, copied], [pairs.columns, n + np.arange(len(copied))]
        values = [np.clip(pairs.values, -top, top), links]
        parts = np.array(self.parts, np.int64).reshape(-1, 3)
        is_field = parts[:, 1] == FIELD
        h[n + parts[is_field, 0]] = parts[is_field, 2]
        rows.append(parts[~is_field, 1])
        columns.append(n + parts[~is_field, 0])
        values.append(parts[~is_field, 2].astype(np.float64))
        i, j, J = map(np.concatenate, (rows, columns, values))
        every = Pairs.of(i, j, J, n + len(copied))
        return model_of(every, h, is_sparse=model.is_sparse)


def _excess(
    pairs: Pairs, h: NDArray[np.float64], top: int, field_top: int
) -> dict[int, list[tuple[int, int]]]:
    """Return what each spin has to share: partners, and the part that is too much.

    Of the two spins of a coupling it is the one that has more to share.
    """
    over = np.sign(pairs.values) * np.maximum(np.abs(pairs.values) - top, 0)
    of_field = np.sign(h) * np.maximum(np.abs(h) - field_top, 0)
    totals = np.abs(of_field)
    for ends in (pairs.rows, pairs.columns):
        totals += np.bincount(ends, np.abs(over), len(h))
    found: dict[int, list[tuple[int, int]]] = {}
    for i in np.flatnonzero(of_field).tolist():
        found.setdefault(i, []).append((FIELD, int(of_field[i])))
    for k in np.flatnonzero(over).tolist():
        i, j = int(pairs.rows[k]), int(pairs.columns[k])
        owner, partner = (i, j) if totals[i] >= totals[j] else (j, i)
        found.setdefault(owner, []).append((partner, int(over[k])))
    return found
