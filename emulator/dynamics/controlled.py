"""What the amplitude- and feedback-controlled machines share: amplitudes and error variables."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from emulator.dynamics.base import Block, Dynamics, Wiring, check_options, state_dtype
from emulator.noise import fill_normals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "Conditions",
    "ControlledBlock",
    "ControlledDynamics",
    "Ramp",
    "check_options",
    "initial_normals",
    "ramped",
]

Ramp: TypeAlias = tuple[float, float]


def ramped(ends: Ramp, progress: float) -> float:
    """Return the value at `progress` (0 to 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * progress


def initial_normals(
    wiring: Wiring, *, first_run: int, n_runs: int, width: float, dtype: Any, stream: int = 0
) -> NDArray[Any]:
    """Return independent normals (n, runs) of standard deviation `width`."""
    x = np.empty((wiring.n_spins + wiring.n_spins % 2, n_runs), dtype)
    fill_normals(wiring.key, stream, first_run, x)
    x *= x.dtype.type(width)
    return x[: wiring.n_spins]


class Shared(NamedTuple):
    """Arrays that every kernel of this family takes, (n, runs), (n,) and (runs,)."""

    x: NDArray[Any]
    e: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    field_amplitude: NDArray[Any]


class Conditions(NamedTuple):
    """What a step is made under: pump, how far a run is (0 to 1), and `natural_strength`."""

    pump: float
    progress: float
    natural_strength: float


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

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> ControlledBlock:
        """Return a block of runs at their random initial amplitudes."""
        initial_error = self.initial_error
        return ControlledBlock(
            wiring, self, first_run=first_run, n_runs=n_runs, initial_error=initial_error
        )

    @abstractmethod
    def step(self, arrays: Shared, conditions: Conditions) -> None:
        """Advance amplitudes and error variables by one step."""

    @abstractmethod
    def _own_checks(self) -> Mapping[str, bool]:
        """Whether each option that the family does not share is in its range."""


class ControlledBlock(Block):
    """A block of runs with an error variable beside each amplitude.

    A field acts as one more spin would whose amplitude is the mean magnitude of the others.

    Attributes
    ----------
    x, e : array, shape (n, runs)
        Amplitudes and error variables.
    wiring : Wiring
    """

    def __init__(
        self,
        wiring: Wiring,
        dynamics: ControlledDynamics,
        *,
        first_run: int,
        n_runs: int,
        initial_error: float,
    ) -> None:
        dtype = state_dtype(dynamics.precision)
        width = dynamics.initial_width
        self.x = initial_normals(
            wiring, first_run=first_run, n_runs=n_runs, width=width, dtype=dtype
        )
        self.e = np.full_like(self.x, initial_error)
        self._product = np.empty(self.x.shape, wiring.coupling.dtype)
        self._field = wiring.coupling.field.astype(dtype)
        self._has_field = bool(self._field.any())
        self._field_amplitude = np.zeros(n_runs, dtype)
        self.wiring, self._dynamics = wiring, dynamics
        self._round_trip = 0

    def advance(self, pump: float) -> None:
        """Make one step."""
        self.wiring.coupling.multiply(self.x, self._product)
        if self._has_field:
            np.mean(np.abs(self.x), axis=0, out=self._field_amplitude)
        last = max(self.wiring.round_trips - 1, 1)
        arrays = Shared(self.x, self.e, self._product, self._field, self._field_amplitude)
        progress = min(self._round_trip / last, 1.0)
        self._dynamics.step(arrays, Conditions(pump, progress, self.wiring.natural_strength))
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x
