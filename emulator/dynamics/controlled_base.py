"""The base of amplitude- and feedback-controlled machines: amplitudes and error variables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from emulator.disorder import disturbed
from emulator.dynamics.base import JobInputs, SteppedDynamics, natural_strength
from emulator.dynamics.feedback import TrackedBlock, feedback_loop, initial_normals, track_after
from emulator.dynamics.imperfect_control import ImperfectControl, check_imperfections
from emulator.dynamics.stability import LinearLimit
from emulator.products.packing import aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.converters import Converter
    from emulator.imperfections import Imperfections
    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "CLIP",
    "MOST_SHRINK",
    "ControlledBlock",
    "ControlledDynamics",
    "Ramp",
    "SharedArrays",
    "ramped",
]

# Largest magnitude of an amplitude, in multiples of the target's root where there is one.
CLIP = 1.5
# An error variable shrinks to no less than half in one step, and so stays positive.
MOST_SHRINK = -0.5

Ramp: TypeAlias = tuple[float, float]


class SharedArrays(NamedTuple):
    """Amplitudes, error variables and local fields (n, runs) of a block."""

    x: NDArray[Any]
    e: NDArray[Any]
    local_field: NDArray[Any]


class ControlledBlock(TrackedBlock):
    """A block of runs with an error variable beside each amplitude.

    Attributes
    ----------
    inputs : JobInputs
    """

    def __init__(
        self, dynamics: ControlledDynamics, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        dynamics = dynamics.fitted(inputs)
        dtype, n_padded, width = dynamics.dtype, padded_runs(n_runs), dynamics.initial_width
        x = initial_normals(inputs, first_run=first_run, n_runs=n_padded, width=width, dtype=dtype)
        x = x[: inputs.n_spins]
        super().__init__(x, feedback_loop(inputs.coupling, n_padded, dtype), n_runs)
        self._arrays = SharedArrays(x, *(aligned_zeros(x.shape, dtype) for _ in range(2)))
        self._arrays.e[:] = dynamics.initial_error
        natural = natural_strength(inputs.coupling)
        self._constants = dynamics.constants(natural)
        self.inputs, self._dynamics = inputs, dynamics
        self._round_trip = 0
        self._errors: ImperfectControl | None = None
        if not dynamics.is_ideal:
            strength = dynamics.coupling_gain * natural
            self._errors = ImperfectControl(
                dynamics, inputs, strength=strength, first_run=first_run, shape=x.shape
            )

    @property
    def e(self) -> NDArray[Any]:
        """Error variables (n, runs)."""
        return self._columns(self._arrays.e)

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        dynamics, last = self._dynamics, max(self.inputs.round_trips - 1, 1)
        progress = np.minimum((self._round_trip + np.arange(len(pumps))) / last, 1.0)
        series = dynamics.loss * (pumps - 1), *dynamics.ramps(progress)
        in_dtype = tuple(values.astype(dynamics.dtype) for values in series)
        if self._errors is None:
            dynamics.advance(self._loop, self._arrays, in_dtype, self._constants)
        else:
            self._advance_imperfect(in_dtype, self._errors)
        self._round_trip += len(pumps)

    def _advance_imperfect(
        self, series: tuple[NDArray[Any], ...], errors: ImperfectControl
    ) -> None:
        untracked = self._loop._replace(tracker=None)
        for step, values in enumerate(zip(*series, strict=True)):
            errors.feed_back(untracked, self._arrays, self._round_trip + step)
            self._dynamics.control(self._arrays, values, self._constants)
            errors.disturb(self._arrays.x)
            track_after(self._loop.tracker, self._arrays.x)

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong."""
        return {} if self._errors is None else self._errors.notes(n_runs)


class ControlledDynamics(SteppedDynamics):
    """The start that this family shares; a member adds its options, constants and kernel.

    Attributes
    ----------
    initial_error : float
        The value error variables start from.
    advance : callable
        The kernel: takes the loop, `SharedArrays`, series, and constants. Series are arrays of
        one number for each round trip to make: the net gain L(p - 1), and those of `ramps`.
    error_multiplies : bool
        Whether the error variable multiplies what is injected.
    """

    coupling_gain: float
    loss: float
    time_step: float
    initial_width: float
    noise: float
    detector_noise: float
    adc: Converter
    dac: Converter
    imperfections: Imperfections
    initial_error: float = 1.0
    error_multiplies: bool = True
    advance: ClassVar[Callable[..., None]]
    block = ControlledBlock

    @property
    def linear_limit(self) -> LinearLimit:
        """Of a step of amplitudes whose error variables are as at the start of a run."""
        return LinearLimit(self.time_step * self.coupling_gain)

    def natural_unit(self, coupling: CouplingMatrix) -> float:
        """Return `natural_strength`."""
        return natural_strength(coupling)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_imperfections(self)

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is wrong in the loop, couplings aside."""
        has_converter = self.adc.rounds or self.dac.rounds
        noisy = self.noise or self.detector_noise
        return self.imperfections.is_ideal and not (has_converter or noisy)

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings with the static errors of this machine, where it has any."""
        return disturbed(coupling, self.imperfections, self.dtype)

    @abstractmethod
    def control(self, arrays: SharedArrays, values: tuple[Any, ...], constants: Any) -> None:
        """Make one step with the local fields in `arrays`, given a number of each series."""

    @abstractmethod
    def constants(self, natural_strength: float) -> Any:
        """Return the scalars of the kernel, of the state's dtype."""

    def ramps(self, progress: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:  # noqa: ARG002
        """Return what changes during a run besides the pump, `progress` (0 to 1) of the way."""
        return ()


def ramped(ends: Ramp, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at `progress` (0 to 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * progress
