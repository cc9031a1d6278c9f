r"""The best configuration a run has passed through, instead of its last.

Algorithms that leave local minima on their own account are scored by what they have seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision
from emulator.dynamics.feedback import TrackedBlock, start_tracking, track
from emulator.options import Interval, documented, option, setting_options, settings_of
from emulator.options import with_settings as options_with
from emulator.products.packing import padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import Setting
    from emulator.dynamics.stability import LinearLimit
    from emulator.products.coupling import CouplingMatrix

__all__ = ["BestSeen", "BestSeenBlock"]


@documented
@dataclass(frozen=True, kw_only=True)
class BestSeen(Dynamics):
    r"""Another dynamics, read out at the lowest energy that a run has passed through.

    Every `every` round trips, and at the end, the energy of the signs is computed,

    .. math:: E = -\tfrac12 \sigma\cdot J\sigma - h\cdot\sigma, \qquad \sigma_i = \mathrm{sgn}\,x_i

    exactly where couplings are integers, and amplitudes are kept if it is the lowest so far. What
    a machine measures is looked at, nothing more: the run stays as it is. The price is a product
    1 / `every` times as often as the dynamics needs one, and the couplings once more in memory
    where the dynamics does not feed back integers. With None no energy is computed, and the
    dynamics is read out at its end.

    Raises
    ------
    ValueError
        `every` is less than 1.
    """

    dynamics: Dynamics = option(doc="Whose energies are computed.")
    every: int | None = option(
        10,
        within=Interval(1, math.inf),
        low=0,
        high=1000,
        none=0,
        is_optional=True,
        is_searched=False,
        unit="round trips",
        doc="""Between two looks at the energy, whose best is read; 0 reads the last.
None in Python, 0 in a job, which samples want: the best of a run is no sample.""",
    )
    precision: Precision = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "follows_energy", self.every is not None)
        object.__setattr__(self, "precision", self.dynamics.precision)
        object.__setattr__(self, "has_field", self.dynamics.has_field)

    @property
    def largest_code(self) -> float | None:
        """That of the dynamics."""
        return self.dynamics.largest_code

    @property
    def linear_limit(self) -> LinearLimit | None:
        """That of the dynamics."""
        return self.dynamics.linear_limit

    @property
    def largest_pump(self) -> float:
        """That of the dynamics."""
        return self.dynamics.largest_pump

    def natural_unit(self, coupling: CouplingMatrix) -> float:
        """Return that of the dynamics."""
        return self.dynamics.natural_unit(coupling)

    def choices(self, inputs: JobInputs) -> dict[str, float | str]:
        """Return those of the dynamics."""
        return self.dynamics.choices(inputs)

    def settings(self) -> tuple[Setting, ...]:
        """Return the settings of the dynamics, and how often energies are computed."""
        return (*self.dynamics.settings(), *settings_of(self))

    def with_settings(self, settings: Mapping[str, float]) -> BestSeen:
        """Return this dynamics with the settings of a job."""
        own = {name: value for name, value in settings.items() if name in setting_options(self)}
        inner = {name: value for name, value in settings.items() if name not in own}
        return replace(options_with(self, own), dynamics=self.dynamics.with_settings(inner))

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings that the dynamics really applies."""
        return self.dynamics.perturb(coupling)

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> Block:
        """Return a block of the dynamics whose energies are tracked, if they are to be."""
        block = self.dynamics.start(inputs, first_run=first_run, n_runs=n_runs)
        if self.every is None:
            return block
        return BestSeenBlock(block, inputs, n_runs=n_runs, every=self.every)


class BestSeenBlock(Block):
    """Any block, with its energies tracked.

    Attributes
    ----------
    block : Block
    """

    def __init__(self, block: Block, inputs: JobInputs, *, n_runs: int, every: int) -> None:
        self.block = block
        self._tracks_itself = isinstance(block, TrackedBlock)
        width = padded_runs(n_runs) if self._tracks_itself else n_runs
        dtype = block.amplitudes().dtype
        self._tracker = start_tracking(inputs.energy_coupling, width, dtype, every)
        if isinstance(block, TrackedBlock):
            block.follow(self._tracker)
        self._n_runs = n_runs

    @property
    def energies(self) -> NDArray[np.float64]:
        """Lowest so far (runs,), in units of `JobInputs.energy_coupling`."""
        return self._tracker.lowest[: self._n_runs]

    def advance(self, pump: float) -> None:
        """Make one round trip, and track the energy every `every` round trips."""
        self.block.advance(pump)
        if not self._tracks_itself:
            self._tracker.clock[0] += 1
            if self._tracker.clock[0] % self._tracker.every == 0:
                self._track()

    def amplitudes(self) -> NDArray[Any]:
        """Return each run's amplitudes at its lowest energy, the current one included."""
        if isinstance(self.block, TrackedBlock):
            self.block.track()
        else:
            self._track()
        return self._tracker.best[:, : self._n_runs]

    def _track(self) -> None:
        track(self._tracker, np.ascontiguousarray(self.block.amplitudes()))
