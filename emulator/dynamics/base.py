"""The interface of a dynamics: options that start blocks of runs, which make round trips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from emulator.options import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    SHARE,
    check_options,
    option,
    settings_of,
    with_settings,
)
from emulator.spectrum import Norms, lowest_eigenvalue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cim_hal import Setting
    from emulator.noise import NoiseKey
    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "Block",
    "Dynamics",
    "JobInputs",
    "Precision",
    "coupling_gain_option",
    "coupling_loss_option",
    "field_amplitude_option",
    "field_weight_option",
    "initial_width_option",
    "interpretation_option",
    "loss_option",
    "precision_option",
    "state_dtype",
    "time_step_option",
]

Precision: TypeAlias = Literal["single", "double"]


def state_dtype(precision: Precision) -> np.dtype[Any]:
    """Return the dtype of the state: float32 for single precision, float64 for double."""
    return np.dtype(np.float32 if precision == "single" else np.float64)


@dataclass(frozen=True, eq=False)
class JobInputs:
    """The data that all blocks of a job share.

    Attributes
    ----------
    coupling : CouplingMatrix
        Couplings and field.
    key : NoiseKey
        Source of all noise.
    round_trips : int
        Length of a run, over which options may be ramped.
    signs : CouplingMatrix or None
        Couplings for exact products with spins, where those of `coupling` are rounded; see
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
        """Norms of couplings and field, computed once for all blocks."""
        return Norms.of(self.coupling)

    @cached_property
    def lowest_eigenvalue(self) -> float:
        """`spectrum.lowest_eigenvalue` of the couplings, computed once for all blocks."""
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
        """Return remarks on the first `n_runs` runs, for the record of the job.

        A number is the largest of any run, so that it does not depend on how runs are grouped.
        """
        return {}


class Dynamics(ABC):
    """The physics of a machine: a frozen dataclass of options, without state.

    Attributes
    ----------
    precision : {"single", "double"}
        Of the state.
    has_field : bool
        Whether the machine applies a field.
    follows_energy : bool
        Whether energies are computed during a run.
    """

    precision: Precision
    has_field: bool = True
    follows_energy: bool = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def largest_code(self) -> float | None:
        """Largest integer that reaches the coupling product; None where numbers are real."""
        return None

    def settings(self) -> tuple[Setting, ...]:
        """Return the options that a job may change, with their values as defaults."""
        return settings_of(self)

    def with_settings(self, settings: Mapping[str, float]) -> Dynamics:
        """Return this dynamics with the settings of a job."""
        return with_settings(self, settings)

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings the machine really applies; energies are of those it was given."""
        return coupling

    @abstractmethod
    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> Block:
        """Return runs `first_run` to `first_run` + `n_runs` - 1 before their first round trip."""


def _shared(doc: str, note: str) -> str:
    return f"{doc}\n{note}" if note else doc


def coupling_gain_option(default: float) -> Any:
    """Return the option g, which multiplies couplings."""
    doc = "Strength of the couplings, in natural units."
    return option(default, within=NON_NEGATIVE, low=0.05, high=5.0, log=True, symbol="g", doc=doc)


def field_weight_option(default: float, *, note: str) -> Any:
    r"""Return the option w of :math:`\xi_0`, see `Norms.natural_strength`."""
    doc = _shared("How much fields count in the unit of couplings.", note)
    return option(default, within=SHARE, low=0.0, high=1.0, symbol="w", doc=doc)


def field_amplitude_option() -> Any:
    """Return the option a, the amplitude a field is multiplied with."""
    doc = (
        "Amplitude of the spin that stands for the field.\n"
        "None for the mean magnitude of what is fed back in a run."
    )
    return option(None, within=FINITE, low=0.01, high=10.0, log=True, symbol="a", doc=doc)


def loss_option(default: float, *, note: str = "") -> Any:
    """Return the option L, the loss of the field."""
    doc = _shared("Loss rate of a lone oscillator.", note)
    return option(default, within=NON_NEGATIVE, low=0.1, high=10.0, log=True, symbol="L", doc=doc)


def coupling_loss_option() -> Any:
    """Return the option j, the loss of the splitters that couple pulses."""
    doc = "Loss rate in the delay lines, in units of the loss.\nEach splitter lets vacuum in."
    return option(0.0, within=NON_NEGATIVE, low=0.0, high=5.0, symbol="j", doc=doc)


def time_step_option(default: float, *, low: float, high: float, note: str = "") -> Any:
    """Return the option dt, the time of a round trip."""
    doc = _shared("Time that passes in a round trip.", note)
    unit = "field lifetimes"
    return option(
        default, within=POSITIVE, low=low, high=high, log=True, unit=unit, symbol="dt", doc=doc
    )


def initial_width_option(default: float, *, what: str = "amplitudes") -> Any:
    """Return the option of the random initial state."""
    doc = f"Width of the normal {what} that a run starts from."
    return option(default, within=NON_NEGATIVE, doc=doc)


def interpretation_option() -> Any:
    """Return the option of the sense of the noise."""
    doc = "Sense in which the equation is written: that of the integrator."
    return option("ito", within=("ito", "stratonovich"), doc=doc)


def precision_option() -> Any:
    """Return the option that every dynamics of either precision has."""
    return option("single", within=("single", "double"), doc="Of the state.")
