"""The instances of the comparison, and what counts as a solution."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from cim_hal import IsingModel, read_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["INSTANCES", "TARGETS", "Instance", "load"]

INSTANCES = ("SK100", "D550", "G1", "G22", "K2000")
# Shares of the best known value.
TARGETS = (0.99, 0.999, 1.0)


@dataclass(frozen=True, eq=False)
class Instance:
    """Couplings of E(s) = -1/2 s'Js, and the best that is known.

    Attributes
    ----------
    name : str
    J : int8 array, shape (n, n)
    best : float
        Best known energy, or cut if `is_cut`.
    is_cut : bool
        Whether quality is a share of a cut, the weights being -J, or of an energy.
    """

    name: str
    J: NDArray[np.int8]
    best: float
    is_cut: bool

    def quality(self, spins: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return what spins of shape (runs, n) reach, as a share of the best known value.

        Computed here, whatever a peer says of its spins.

        Raises
        ------
        ValueError
            Something other than spins of this instance.
        """
        if spins.ndim != 2 or spins.shape[1] != len(self.J) or not (abs(spins) == 1).all():
            raise ValueError(f"{self.name}: not spins, shape {spins.shape}")
        energies = self._model.energy(spins)
        if not self.is_cut:
            return energies / self.best
        return (-self.J.sum(dtype=np.int64) / 2 - energies) / 2 / self.best

    @cached_property
    def _model(self) -> IsingModel:
        J = self.J.astype(np.float64)
        return IsingModel.from_couplings(sp.csr_array(J) if (J != 0).mean() < 0.1 else J)


def load(shared_dir: Path, name: str) -> Instance:
    """Load an instance from the folder of shared data."""
    folder = shared_dir / "instances"
    best = json.loads((folder / "best_known.json").read_text())
    match name:
        case "SK100":
            with np.load(folder / "sk/SK1_N100.npz") as archive:
                J, ground = -archive["W"][0], float(archive["listed_ground_energies"][0])
            return Instance(name, J, ground, is_cut=False)
        case "D550":
            with np.load(folder / "dense/gen550_int8.npz") as archive:
                J = archive["J"]
            return Instance(name, J, best["gen550_int8"]["energy"], is_cut=False)
        case "K2000":
            with np.load(folder / "dense/K2000.npz") as archive:
                J = _complete_graph(archive["bits"], int(archive["n"]))
            return Instance(name, J, best[name]["cut"], is_cut=True)
        case _:
            model = read_model(folder / f"gset/{name}.txt").model
            J = np.asarray(model.J.todense()).astype(np.int8)
            return Instance(name, J, best[name]["cut"], is_cut=True)


def _complete_graph(bits: NDArray[np.uint8], n: int) -> NDArray[np.int8]:
    """Return J = -w from the signs of w, bit 1 for +1, of the upper triangle row by row."""
    pairs = np.triu_indices(n, 1)
    J = np.zeros((n, n), np.int8)
    J[pairs] = 1 - 2 * np.unpackbits(bits)[: len(pairs[0])].astype(np.int8)
    return J + J.T
