"""The interface of a dynamics: options that start blocks of runs, which make round trips."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

import numpy as np

from emulator.dynamics.spectrum import extreme_modes, lowest_eigenvalue
from emulator.options import check_options, settings_of, with_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import Setting
    from emulator.dynamics.stability import ExtremeModes, LinearLimit
    from emulator.noise import NoiseKey
    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "LEAST_FIELD_WEIGHT",
    "Block",
    "ChunkedBlock",
    "Dynamics",
    "JobInputs",
    "Precision",
    "SteppedDynamics",
    "natural_strength",
]

Precision: TypeAlias = Literal["single", "double"]
Constants = TypeVar("Constants", bound=tuple[Any, ...])
Made = TypeVar("Made")

LEAST_FIELD_WEIGHT = 1e-3


def natural_strength(coupling: CouplingMatrix, field_weight: float = 0.0) -> float:
    r"""Return :math:`\xi_0 = \sqrt{N / \sum_i(\sum_j J_{ij}^2 + w^2h_i^2)}`, 1 without both.

    At w = 0 it is one over the root-mean-square norm of a row of J; for a dense random J, the
    spectrum of :math:`\xi_0 J` then ends at 2. A spin that its field holds decides nothing,
    and to count its field would weaken the couplings of all others. w is 0.001 at least,
    which keeps drives within float32 and gives a scale to fields without couplings. Where the gain
    is fitted to a model, its factor is in it (`CouplingMatrix.gain_factor`).
    """
    field = float(np.linalg.norm(coupling.field))
    norm = math.hypot(coupling.norm, max(field_weight, LEAST_FIELD_WEIGHT) * field)
    return coupling.gain_factor * math.sqrt(len(coupling.field)) / norm if norm else 1.0


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
    level : float
        Value of one level of the couplings in units of the model's J.
    penalty_share : float
        To what a penalty was weakened; see `cim_hal.model.penalties`.
    """

    coupling: CouplingMatrix
    key: NoiseKey
    round_trips: int = 1
    signs: CouplingMatrix | None = None
    level: float = 1.0
    penalty_share: float = 1.0
    _made: list[Any] = field(default_factory=list[Any], init=False, repr=False)
    _mutex: Lock = field(default_factory=Lock, init=False, repr=False)

    def once(self, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, which is called for the first block only."""
        with self._mutex:
            if not self._made:
                self._made.append(make())
            return self._made[0]

    def fitted(self) -> dict[str, float | str]:
        """Return, for the record, what was changed of the model and of a default gain."""
        told: dict[str, float | str] = {}
        if self.coupling.gain_factor != 1:
            told["gain_factor"] = self.coupling.gain_factor
        if self.penalty_share != 1:
            told["penalty_share"] = self.penalty_share
        return told

    @property
    def n_spins(self) -> int:
        """Spins on the machine."""
        return len(self.coupling.field)

    @property
    def energy_coupling(self) -> CouplingMatrix:
        """Couplings that give energies: exact where they are integers."""
        return self.coupling if self.signs is None else self.signs

    @cached_property
    def lowest_eigenvalue(self) -> float:
        """`lowest_eigenvalue` of the couplings, computed once for all blocks."""
        return lowest_eigenvalue(self.coupling)

    @cached_property
    def extreme_modes(self) -> ExtremeModes:
        """`extreme_modes` of the couplings, computed once for all blocks."""
        return extreme_modes(self.coupling)


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


# A chunk is as many round trips as make this many spin-updates, within bounds: 81 of 100 spins
# and 64 runs.
CHUNK_UPDATES = 2**19
SHORTEST_CHUNK, LONGEST_CHUNK = 16, 128


class ChunkedBlock(Block):
    """A block that makes its round trips in chunks, each in one call of compiled code.

    It collects pump rates until it is read or a chunk is full. A call takes 10 microseconds, as
    long as a round trip of 100 spins, and holds the interpreter's lock, for which other threads
    wait.

    Parameters
    ----------
    size : int
        Spins times runs.
    """

    def __init__(self, size: int) -> None:
        self._ahead: list[float] = []
        self._longest = min(max(SHORTEST_CHUNK, CHUNK_UPDATES // size), LONGEST_CHUNK)

    def advance(self, pump: float) -> None:
        """Schedule one round trip."""
        self._ahead.append(pump)
        if len(self._ahead) == self._longest:
            self.catch_up()

    def catch_up(self) -> None:
        """Make the scheduled round trips."""
        if self._ahead:
            pumps = np.array(self._ahead)
            self._ahead.clear()
            self._advance_through(pumps)

    @abstractmethod
    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        """Make a round trip at each of the pump rates."""


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
    block : callable
        Takes the dynamics, inputs, the first run, and how many; returns a ``Block``.
    """

    precision: Precision
    has_field: bool = True
    follows_energy: bool = False
    block: ClassVar[Callable[..., Block]]

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def largest_code(self) -> float | None:
        """Largest integer that reaches the coupling product; None where numbers are real."""
        return None

    @property
    def linear_limit(self) -> LinearLimit | None:
        """Of the feedback loop, in units of `natural_unit`; None where there is none."""
        return None

    @property
    def largest_pump(self) -> float:
        """The pump rate up to which the equations are solved; a job with more is refused."""
        return math.inf

    def natural_unit(self, coupling: CouplingMatrix) -> float:
        """Return one of the stored values in natural units, those of `coupling_gain`."""
        return coupling.unit

    def choices(self, inputs: JobInputs) -> dict[str, float | str]:
        """Return what the record of a job tells of its model: a limit that it exceeds.

        ``feedback_over_limit`` is the factor, ``lowest_eigenvalue`` that of J in its own units.
        """
        excess = self.excess(inputs)
        if excess <= 1:
            return {}
        lowest = float(inputs.extreme_modes.eigenvalues[0])
        eigenvalue = lowest * inputs.coupling.step * inputs.level
        return {"feedback_over_limit": excess, "lowest_eigenvalue": eigenvalue}

    def excess(self, inputs: JobInputs) -> float:
        """Return by what factor the lowest mode of a model exceeds the limit; 0 without one."""
        if self.linear_limit is None:
            return 0.0
        lowest = float(inputs.extreme_modes.eigenvalues[0])
        return self.linear_limit.excess(lowest * self.natural_unit(inputs.coupling))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the state: float32 for single precision, float64 for double."""
        return np.dtype(np.float32 if self.precision == "single" else np.float64)

    def scalars(self, constants: Constants) -> Constants:
        """Return a named tuple of numbers, or of such, in the state's dtype; flags stay.

        A kernel that met other numbers would compute in float64.
        """
        kind: Any = type(constants)
        make: Any = getattr(kind, "_make", kind)
        return make(map(self._scalar, constants))

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return self.scalars(value)
        return value if isinstance(value, bool) else self.dtype.type(value)

    def settings(self) -> tuple[Setting, ...]:
        """Return the options that a job may change, with their values as defaults."""
        return settings_of(self)

    def with_settings(self, settings: Mapping[str, float]) -> Dynamics:
        """Return this dynamics with the settings of a job."""
        return with_settings(self, settings)

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings the machine really applies; energies are of those it was given."""
        return coupling

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> Block:
        """Return runs `first_run` to `first_run` + `n_runs` - 1 before their first round trip."""
        return self.block(self, inputs, first_run, n_runs)


class SteppedDynamics(Dynamics):
    """A dynamics in steps, which are shortened where its linear limit demands it."""

    time_step: float
    stability: float

    def fitted(self, inputs: JobInputs) -> Self:
        """Return this dynamics with a step of which `stability` of the limit is not exceeded."""
        excess = self.excess(inputs)
        if excess <= self.stability:
            return self
        itself: Any = self  # a dataclass, as every dynamics
        return replace(itself, time_step=self.time_step * self.stability / excess)

    def choices(self, inputs: JobInputs) -> dict[str, float | str]:
        """Return a limit that is exceeded, and a step that is shortened."""
        fitted = self.fitted(inputs)
        shortened = {} if fitted is self else {"time_step": fitted.time_step}
        return super().choices(inputs) | shortened
