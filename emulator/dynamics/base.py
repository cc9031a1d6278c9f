"""What a machine needs of its physics: a block of runs that advances by round trips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from emulator.spectrum import Norms, lowest_eigenvalue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emulator.noise import NoiseKey
    from emulator.products.coupling import CouplingMatrix

__all__ = ["Block", "Dynamics", "JobInputs", "Precision", "check_options", "state_dtype"]

Precision: TypeAlias = Literal["single", "double"]


def state_dtype(precision: Precision) -> np.dtype[Any]:
    """Return the dtype of the state: float32 for single precision, float64 for double."""
    return np.dtype(np.float32 if precision == "single" else np.float64)


@dataclass(frozen=True, eq=False)
class JobInputs:
    """What all blocks of a job share.

    Attributes
    ----------
    coupling : CouplingMatrix
        Couplings and field.
    key : NoiseKey
        Source of all noise.
    round_trips : int
        Length of a run, for what is ramped over it.
    signs : CouplingMatrix or None
        Couplings for the product with spins, where `coupling` would round it; see
        `Dynamics.follows_energy`.
    """

    coupling: CouplingMatrix
    key: NoiseKey
    round_trips: int = 1
    signs: CouplingMatrix | None = None

    @property
    def n_spins(self) -> int:
        """Spins on the machine."""
        return len(self.coupling.field)

    @property
    def energy_coupling(self) -> CouplingMatrix:
        """Couplings that give energies: exact where they are integers."""
        return self.coupling if self.signs is None else self.signs

    @cached_property
    def norms(self) -> Norms:
        """How large couplings and fields are, once for all blocks."""
        return Norms.of(self.coupling)

    @cached_property
    def lowest_eigenvalue(self) -> float:
        """What `spectrum.lowest_eigenvalue` says of the couplings, once for all blocks."""
        return lowest_eigenvalue(self.coupling)


class Block(ABC):
    """A block of runs between vacuum and readout; arrays have shape (n, runs)."""

    @abstractmethod
    def advance(self, pump: float) -> None:
        """Make one round trip at a pump rate in units of threshold."""

    @abstractmethod
    def amplitudes(self) -> NDArray[Any]:
        """Return the in-phase amplitudes, shape (n, runs); 1 is a lone oscillator's at p = 2."""

    def notes(self, n_runs: int) -> Mapping[str, float | str]:  # noqa: ARG002
        """Return what happened so far to the first `n_runs` runs, for the record.

        A number is the largest of any run, so that it does not depend on how runs are grouped.
        """
        return {}


class Dynamics(ABC):
    """The physics of a machine: options only, no state."""

    precision: Precision

    @property
    @abstractmethod
    def largest_code(self) -> float | None:
        """Largest integer that reaches the coupling product; None where numbers are real."""

    @property
    @abstractmethod
    def has_field(self) -> bool:
        """Whether the machine applies a field."""

    @property
    def follows_energy(self) -> bool:
        """Whether energies are computed during a run."""
        return False

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings the machine really applies; energies are of those it was given."""
        return coupling

    @abstractmethod
    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> Block:
        """Return runs `first_run` to `first_run` + `n_runs` - 1 before their first round trip."""


def check_options(dynamics: Dynamics, checks: Mapping[str, bool]) -> None:
    """Name the first option whose check failed.

    Raises
    ------
    ValueError
        There is one.
    """
    wrong = [name for name, is_right in checks.items() if not is_right]
    if wrong:
        raise ValueError(f"{wrong[0]} = {getattr(dynamics, wrong[0])} is out of range")
