"""The base of amplitude- and feedback-controlled machines: amplitudes and error variables."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from emulator.dynamics.base import Dynamics, JobInputs, state_dtype
from emulator.dynamics.chunks import TrackedBlock
from emulator.dynamics.feedback import FeedbackConstants, field_term, initial_normals
from emulator.options import NON_NEGATIVE, POSITIVE, Interval, option
from emulator.products.packing import aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ControlledBlock",
    "ControlledDynamics",
    "Ramp",
    "RunConditions",
    "SharedArrays",
    "error_limit_option",
    "error_rate_option",
    "ramped",
]

Ramp: TypeAlias = tuple[float, float]


def ramped(ends: Ramp, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at `progress` (0 to 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * progress


def error_rate_option(default: float) -> Any:
    """Return the option beta, the rate of error variables."""
    return option(
        default,
        within=NON_NEGATIVE,
        low=0.01,
        high=3.0,
        log=True,
        symbol=r"\beta",
        doc="How fast error variables follow.",
    )


def error_limit_option(least: Interval = POSITIVE) -> Any:
    """Return the option that bounds error variables."""
    doc = "Largest error variable.\nWithout one, that of an uncoupled spin overflows."
    return option(32.0, within=least, low=1.0, high=1000.0, log=True, doc=doc)


class SharedArrays(NamedTuple):
    """Amplitudes, error variables and local fields (n, runs) of a block."""

    x: NDArray[Any]
    e: NDArray[Any]
    local_field: NDArray[Any]


class RunConditions(NamedTuple):
    """The conditions of the round trips of a chunk.

    Attributes
    ----------
    pump, progress : float64 array, shape (round trips,)
        Pump, and how far a run is (0 to 1).
    """

    pump: NDArray[np.float64]
    progress: NDArray[np.float64]


class ControlledDynamics(Dynamics):
    """The start that this family shares; a member adds its options, constants and step.

    Attributes
    ----------
    initial_error : float
        The value error variables start from.
    """

    coupling_gain: float
    loss: float
    time_step: float
    initial_width: float
    initial_error: float = 1.0

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> ControlledBlock:
        """Return a block of runs at their random initial amplitudes."""
        return ControlledBlock(inputs, self, first_run=first_run, n_runs=n_runs)

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
    ) -> None:
        dtype, n_padded = state_dtype(dynamics.precision), padded_runs(n_runs)
        width = dynamics.initial_width
        x = initial_normals(inputs, first_run=first_run, n_runs=n_padded, width=width, dtype=dtype)
        super().__init__(x, n_runs)
        e = aligned_zeros(x.shape, dtype)
        e[:] = dynamics.initial_error
        self._arrays = SharedArrays(x, e, aligned_zeros(x.shape, dtype))
        term = field_term(inputs.coupling, n_padded, dtype)
        self._loop = FeedbackConstants(inputs.coupling.as_floats(dtype), None, term, None)
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
        loop = self._loop._replace(tracker=self.tracker)
        self._dynamics.step(loop, self._arrays, conditions, self._constants)
        self._round_trip += len(pumps)
