"""What the amplitude- and feedback-controlled machines share: amplitudes and error variables."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring, state_dtype
from emulator.noise import fill_normals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["ControlledBlock", "Ramp", "check_options", "initial_normals", "ramped"]

Ramp: TypeAlias = tuple[float, float]


def ramped(ends: Ramp, progress: float) -> float:
    """Return the value at `progress` (0 to 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * progress


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


class Controlled(Protocol):
    """The options every dynamics of this family has."""

    @property
    def initial_width(self) -> float:
        """Standard deviation of the initial amplitudes."""
        ...

    @property
    def precision(self) -> Precision:
        """Precision of the state."""
        ...


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
        dynamics: Controlled,
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
        self.wiring = wiring
        self._round_trip = 0

    def advance(self, pump: float) -> None:
        """Make one step."""
        self.wiring.coupling.multiply(self.x, self._product)
        if self._has_field:
            np.mean(np.abs(self.x), axis=0, out=self._field_amplitude)
        last = max(self.wiring.round_trips - 1, 1)
        arrays = Shared(self.x, self.e, self._product, self._field, self._field_amplitude)
        self._step(arrays, pump, min(self._round_trip / last, 1.0))
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x

    @abstractmethod
    def _step(self, arrays: Shared, pump: float, progress: float) -> None:
        """Advance amplitudes and error variables, `progress` (0 to 1) of the way through a run."""
