"""The oracle of a training: a machine, or a search on the host in its place; and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from cim_hal import Capabilities, DevicePool, IsingModel, PumpSchedule, Session, lower_by
from qnn_train.archive import checked_array
from qnn_train.arrays import Array, Arrays, FloatArray
from qnn_train.errors import TrainingError
from qnn_train.solve import (
    AnnealingOracle,
    Answer,
    DescentOracle,
    ExactOracle,
    HardnessProbe,
    HardnessRecord,
    Oracle,
    PackedOracle,
    ParallelOracle,
    PolishedOracle,
    PolishRecord,
    QuantizedOracle,
    SessionOracle,
)
from qnn_train.training.recipe import MACHINE, ProximalRecipe, Recipe

__all__ = ["OracleRecord", "TrainingOracle", "capabilities_of", "device_of"]

# What the host takes, in the words of a machine: real coefficients, fields, and no bound in reach.
HOST = Capabilities(
    name="host", max_spins=2**20, coupling_bits=None, has_field=True, max_runs=10**9
)

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])  # that fits wherever bits and policy do


def capabilities_of(
    recipe: Recipe | ProximalRecipe, session: Session | DevicePool | None
) -> Capabilities:
    """Return those of the machine, or of the host where the oracle of a recipe is there.

    Raises
    ------
    TrainingError
        A recipe for a machine without a session, or one for the host with a session.
    """
    if (recipe.oracle == MACHINE) == (session is None):
        raise TrainingError(
            f"oracle = {recipe.oracle!r} and {'no' if session is None else 'a'} session",
            hint="pass a session where the oracle is the machine, and None where it is another",
        )
    if session is None and lowering_of(recipe) != "max":
        raise TrainingError(
            f"lowering = {lowering_of(recipe)!r} and oracle = {recipe.oracle!r}",
            hint="problems are brought to the bits of a machine only",
        )
    return HOST if session is None else session.capabilities


def lowering_of(recipe: Recipe | ProximalRecipe) -> str:
    """Return the policy by which problems are brought to the bits of a machine."""
    return recipe.lowering if isinstance(recipe, Recipe) else "max"


def device_of(capabilities: Capabilities) -> str | None:
    """Return the name that a machine gives itself; None for the host."""
    return None if capabilities is HOST else capabilities.name


@dataclass(frozen=True)
class OracleRecord:
    """What the oracle of a training has done: part of the state of the training."""

    calls: int = 0
    polish: PolishRecord = field(default_factory=PolishRecord)
    n_seen: int = 0  # problems of these calls: several may share one
    hardness: HardnessRecord = field(default_factory=HardnessRecord)

    def arrays(self) -> dict[str, Array]:
        """Return what a checkpoint keeps, but for the calls."""
        hardness = [self.n_seen, *vars(self.hardness).values()]
        return {
            "polish": np.array([*vars(self.polish).values()], np.float64),
            "hardness": np.array(hardness, np.float64),
        }

    @classmethod
    def restored(cls, arrays: Arrays, calls: int) -> Self:
        """Return the record of a checkpoint; an empty one where it is from before there were any.

        A ValueError where it is damaged.
        """
        if "polish" not in arrays:
            return cls(calls)
        samples, changed, flips, *rest = checked_array(arrays, "polish", "f", (5,)).tolist()
        polish = PolishRecord(int(samples), int(changed), int(flips), *rest)
        n_seen, problems, solved, *rest = checked_array(arrays, "hardness", "f", (5,)).tolist()
        return cls(calls, polish, int(n_seen), HardnessRecord(int(problems), int(solved), *rest))

    def report(self) -> dict[str, Any]:
        """Return what a report tells of it."""
        return {
            "polish": self.polish.report() if self.polish.samples else None,
            "hardness": self.hardness.report() if self.hardness.problems else None,
        }


class TrainingOracle(ParallelOracle):
    """The oracle that a recipe names, after the calls that were made before.

    Parameters
    ----------
    session : Session, DevicePool or None
        None where the oracle is on the host.
    before : OracleRecord
    schedule, settings
        Of a machine, see `SessionOracle`.

    Raises
    ------
    CapabilityError
        More bits than the machine has.
    ModelError
        A policy for machines of bits, and the machine takes real numbers.
    """

    def __init__(
        self,
        recipe: Recipe | ProximalRecipe,
        session: Session | DevicePool | None,
        before: OracleRecord,
        *,
        schedule: PumpSchedule | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> None:
        self._polish: PolishedOracle | None = None
        if session is None:
            self._asked = _on_host(recipe, before.calls)
            bits = recipe.coupling_bits
            oracle = self._asked if bits is None else QuantizedOracle(self._asked, bits)
        else:
            oracle = self._of_machine(recipe, session, before, schedule, settings)
        self._oracle = HardnessProbe(
            oracle, seed=recipe.seed, n_seen=before.n_seen, record=before.hardness
        )

    def _of_machine(
        self,
        recipe: Recipe | ProximalRecipe,
        session: Session | DevicePool,
        before: OracleRecord,
        schedule: PumpSchedule | None,
        settings: Mapping[str, float] | None,
    ) -> Oracle:
        lower_by(lowering_of(recipe), PAIR, session.capabilities, bits=recipe.coupling_bits)
        self._asked = SessionOracle(
            session,
            n_runs=recipe.n_runs,
            seed=recipe.seed,
            coupling_bits=recipe.coupling_bits,
            lowering=lowering_of(recipe),
            schedule=schedule,
            settings=settings,
            calls=before.calls,
        )
        oracle = _packed(recipe, self._asked, session.capabilities)
        if not recipe.polish:
            return oracle
        self._polish = PolishedOracle(oracle, record=before.polish)
        return self._polish

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient."""
        return self._oracle.minimize_all(gradients)

    @property
    def record(self) -> OracleRecord:
        """What was done so far, those calls included that were made before."""
        polish = PolishRecord() if self._polish is None else self._polish.record
        return OracleRecord(self._asked.calls, polish, self._oracle.n_seen, self._oracle.record)


def _on_host(
    recipe: Recipe | ProximalRecipe, calls: int
) -> DescentOracle | AnnealingOracle | ExactOracle:
    if recipe.oracle == "exact":
        return ExactOracle(recipe.n_runs, calls=calls)
    kind = DescentOracle if recipe.oracle == "descent" else AnnealingOracle
    return kind(recipe.n_runs, seed=recipe.seed, calls=calls)


def _packed(recipe: Recipe | ProximalRecipe, oracle: Oracle, capabilities: Capabilities) -> Oracle:
    if isinstance(recipe, ProximalRecipe) or not recipe.pack:
        return oracle
    return PackedOracle(oracle, capabilities.max_spins - capabilities.field_spins)
