"""What the amplitude- and feedback-controlled machines share: amplitudes and error variables."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from emulator.dynamics.base import Dynamics, JobInputs, check_options, state_dtype
from emulator.dynamics.chunks import TrackedBlock
from emulator.dynamics.local_field import FieldTerm, field_term, local_fields
from emulator.noise import fill_normals
from emulator.products.packing import aligned_zeros, padded_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emulator.dynamics.energy_tracking import EnergyTracker
    from emulator.products.operand import CouplingOperand

__all__ = [
    "ControlledBlock",
    "ControlledDynamics",
    "FeedbackConstants",
    "Ramp",
    "RunConditions",
    "SharedArrays",
    "feed_back",
    "initial_normals",
    "ramped",
]

Ramp: TypeAlias = tuple[float, float]


def ramped(ends: Ramp, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at `progress` (0 to 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * progress


def initial_normals(
    inputs: JobInputs, *, first_run: int, n_runs: int, width: float, dtype: Any, stream: int = 0
) -> NDArray[Any]:
    """Return independent normals (n, runs) of standard deviation `width`, aligned."""
    x = aligned_zeros((inputs.n_spins + inputs.n_spins % 2, n_runs), dtype)
    fill_normals(inputs.key, stream, first_run, x)
    x *= x.dtype.type(width)
    return x[: inputs.n_spins]


class SharedArrays(NamedTuple):
    """Amplitudes, error variables and local fields (n, runs) of a block; its field."""

    x: NDArray[Any]
    e: NDArray[Any]
    local_field: NDArray[Any]
    field_term: FieldTerm


class FeedbackConstants(NamedTuple):
    """Couplings as numbers, and who looks on the loop."""

    operand: CouplingOperand
    tracker: EnergyTracker | None


class RunConditions(NamedTuple):
    """What round trips are made under.

    Attributes
    ----------
    pump, progress : float64 array, shape (round trips,)
        Pump, and how far a run is (0 to 1).
    """

    pump: NDArray[np.float64]
    progress: NDArray[np.float64]


@njit(cache=True, nogil=True)
def feed_back(operand: CouplingOperand, arrays: SharedArrays) -> None:
    """Write the local fields of the amplitudes as they are."""
    local_fields(operand, arrays.field_term, arrays.x, arrays.local_field)


class ControlledDynamics(Dynamics):
    """Options, checks and start of this family; a member adds its own options and its step."""

    coupling_gain: float
    loss: float
    time_step: float
    initial_width: float

    def __post_init__(self) -> None:
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "loss": 0 <= self.loss < math.inf,
            **self._own_checks(),
            "time_step": 0 < self.time_step < math.inf,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are fed back as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    @property
    def initial_error(self) -> float:
        """The value error variables start from."""
        return 1.0

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> ControlledBlock:
        """Return a block of runs at their random initial amplitudes."""
        initial_error = self.initial_error
        return ControlledBlock(
            inputs, self, first_run=first_run, n_runs=n_runs, initial_error=initial_error
        )

    @abstractmethod
    def constants(self, natural_strength: float) -> Any:
        """Return the scalars of the kernel, of the state's dtype."""

    @abstractmethod
    def step(
        self,
        loop: FeedbackConstants,
        arrays: SharedArrays,
        conditions: RunConditions,
        constants: Any,
    ) -> None:
        """Advance amplitudes and error variables by one step for each of the conditions."""

    @abstractmethod
    def _own_checks(self) -> Mapping[str, bool]:
        """Whether each option that the family does not share is in its range."""


class ControlledBlock(TrackedBlock):
    """A block of runs with an error variable beside each amplitude.

    Attributes
    ----------
    inputs : JobInputs
    """

    def __init__(
        self,
        inputs: JobInputs,
        dynamics: ControlledDynamics,
        *,
        first_run: int,
        n_runs: int,
        initial_error: float,
    ) -> None:
        dtype, n_padded = state_dtype(dynamics.precision), padded_runs(n_runs)
        width = dynamics.initial_width
        x = initial_normals(inputs, first_run=first_run, n_runs=n_padded, width=width, dtype=dtype)
        super().__init__(x, n_runs)
        e = aligned_zeros(x.shape, dtype)
        e[:] = initial_error
        field = field_term(inputs.coupling, n_padded, dtype)
        self._arrays = SharedArrays(x, e, aligned_zeros(x.shape, dtype), field)
        self._operand = inputs.coupling.as_floats(dtype)
        self._constants = dynamics.constants(inputs.norms.natural_strength())
        self.inputs, self._dynamics = inputs, dynamics
        self._round_trip = 0

    @property
    def e(self) -> NDArray[Any]:
        """Error variables (n, runs)."""
        self.catch_up()
        return self._arrays.e[:, : self._n_runs]

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        last = max(self.inputs.round_trips - 1, 1)
        progress = np.minimum((self._round_trip + np.arange(len(pumps))) / last, 1.0)
        conditions = RunConditions(pumps, progress)
        loop = FeedbackConstants(self._operand, self.tracker)
        self._dynamics.step(loop, self._arrays, conditions, self._constants)
        self._round_trip += len(pumps)
