"""Training by quadratic programs with constraints: the loop of a method, and its steps in a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.archive import checked_array, checked_bits, reading
from qnn_train.errors import CheckpointError
from qnn_train.network import QuantizedNetwork
from qnn_train.solve import Candidate, Extractor, Iterate, PackedOracle, SessionOracle, to_arrays
from qnn_train.training.methods import METHODS
from qnn_train.training.report import Row, finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.arrays import Array, Arrays, BitArray
    from qnn_train.network import Architecture
    from qnn_train.program import Assembly, Task
    from qnn_train.solve import Oracle, Scorer
    from qnn_train.training.methods import Method
    from qnn_train.training.recipe import Recipe


__all__ = ["QcboStepper", "SolverState", "TrainingStep", "train"]

SOLVER = "solver."


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of a solver and the best network so far.

    Attributes
    ----------
    iterate : Iterate
    best : Candidate
    candidates : int
        Number of different networks seen.
    """

    iterate: Iterate[Any]
    best: Candidate
    candidates: int
    _extractor: Extractor = field(repr=False)

    def saved(self) -> SolverState:
        """Return all that the next step depends on."""
        networks = self._extractor.seen(self.candidates)
        return SolverState(to_arrays(self.iterate.state), networks, self.best)


@dataclass(frozen=True, eq=False)
class SolverState:
    """Where a training was after a step.

    Attributes
    ----------
    solver : mapping of str to array
        State of the method, see `to_arrays`.
    networks : int8 array, shape (candidates, n_bits)
        The different networks seen.
    best : Candidate
        The best of them.
    """

    solver: Arrays
    networks: BitArray
    best: Candidate


def train(
    task: Task | Assembly,
    oracle: Oracle,
    scorer: Scorer,
    *,
    method: Method = METHODS["qcgd"],
    saved: SolverState | None = None,
) -> Iterator[TrainingStep]:
    """Train; the caller decides when to stop.

    Parameters
    ----------
    task : Task or Assembly
        What to learn. Methods that work on parts need the task, since a program has none.
    oracle : Oracle
        Called once a step, or for each part.
    scorer : Scorer
        Labelled images on which all samples are compared; never those of the test.
    method : Method
        The same samples are scored in the same way whatever the method.
    saved : SolverState, optional
        Where to go on; the oracle must do so too, see `SessionOracle`.

    Raises
    ------
    CheckpointError
        What was saved is of another task or method.

    Examples
    --------
    >>> from qnn_train import ExhaustiveOracle, Scorer, SquaredLoss, assemble
    >>> from qnn_train import threshold_unit, weight_code
    >>> unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    >>> inputs, labels = [[-1, -1], [-1, 1], [1, -1], [1, 1]], [-1, -1, -1, 1]  # logical and
    >>> assembly = assemble(unit, inputs, labels, loss=SquaredLoss(1))
    >>> next(train(assembly, ExhaustiveOracle(), Scorer(inputs, labels))).best.accuracy
    1.0
    """
    if saved is None:
        extractor, solver = Extractor(task.architecture, scorer), None
    else:
        extractor = Extractor.restored(task.architecture, scorer, saved.networks, saved.best)
        solver = saved.solver
    for iterate in method.start(task, oracle, solver):
        best = extractor.add(iterate.bits)
        yield TrainingStep(iterate, best, extractor.n_candidates, extractor)


class QcboStepper:
    """Steps of a method of `METHODS` on a task that fits the machine.

    Parameters
    ----------
    recipe : Recipe
    session : cim_hal.Session or cim_hal.DevicePool
    method : Method
        That of the recipe, see `method_named`.
    task : Task
    scorer : Scorer
    arrays, rows : optional
        Where to go on, see `Stepper`.

    Raises
    ------
    CapabilityError
        More runs in a call than the machine makes.
    CheckpointError
        Arrays of another problem, or damaged ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        session: Session | DevicePool,
        *,
        method: Method,
        task: Task,
        scorer: Scorer,
        arrays: Arrays | None = None,
        rows: list[Row] | None = None,
    ) -> None:
        capabilities = session.capabilities
        capabilities.check_runs(recipe.n_runs)
        self.method = method
        self.machine: dict[str, str | int] = {"device": capabilities.name}
        self._iterations = recipe.iterations
        self._rows = list(rows or ())
        state = None if arrays is None else _restored(arrays, recipe.architecture, self._rows)
        self._last: tuple[int, TrainingStep | SolverState | None] = len(self._rows), state
        oracle: Oracle = SessionOracle(
            session,
            n_runs=recipe.n_runs,
            seed=recipe.seed,
            coupling_bits=recipe.coupling_bits,
            calls=self.calls,
        )
        if recipe.pack:
            oracle = PackedOracle(oracle, capabilities.max_spins - capabilities.field_spins)
        self._steps = train(task, oracle, scorer, method=method, saved=state)

    @property
    def calls(self) -> int:
        """Calls of the machine up to the last step, those before a checkpoint too."""
        count = self._last[0]
        return self._rows[count - 1].calls if count else 0

    @property
    def progress(self) -> tuple[int, int]:
        """Calls made, and those of the recipe."""
        return min(self.calls, self._iterations), self._iterations

    @property
    def is_over(self) -> bool:
        """Whether all calls of the recipe are made; the last step may have made more."""
        return self.calls >= self._iterations

    @property
    def rows(self) -> list[Row]:
        """What was measured after each step."""
        return self._rows[: self._last[0]]

    @property
    def state(self) -> SolverState:
        """Where the training is after its last step.

        Raises
        ------
        RuntimeError
            No step was made.
        """
        last = self._last[1]
        if last is None:
            raise RuntimeError("no step was made")
        return last.saved() if isinstance(last, TrainingStep) else last

    def step(self) -> TrainingStep:
        """Make one step."""
        made, count = next(self._steps), self._last[0]
        del self._rows[count:]
        self._rows.append(_row(made))
        # all at once: an interruption finds the training before the step, or after it
        self._last = count + 1, made
        return made

    def status(self) -> str:
        """Return infeasibility and accuracy after the last step."""
        count = self._last[0]
        if not count:
            return ""
        row = self._rows[count - 1]
        residual = float("nan") if row.infeasibility is None else row.infeasibility
        return f"infeasibility {residual:.3f}  accuracy {100 * row.accuracy:.2f} %"

    def arrays(self) -> dict[str, Array]:
        """Return the state: fields of the solver's, the different networks seen, and the best."""
        state = self.state
        solver = {SOLVER + name: array for name, array in state.solver.items()}
        return solver | {
            "networks": np.packbits(state.networks, axis=1),
            "best": np.packbits([state.best.network.to_bits()], axis=1),
            "best_accuracy": np.array(state.best.accuracy),
            "best_losses": np.array(state.best.losses, np.float64),
        }


def _row(step: TrainingStep) -> Row:
    iterate = step.iterate
    return Row(
        iterate.calls,
        finite(iterate.objective),
        step.best.accuracy,
        finite(iterate.infeasibility),
        finite(iterate.gap),
    )


def _restored(arrays: Arrays, architecture: Architecture, rows: list[Row]) -> SolverState:
    """Return the state that arrays hold; of the solver's own fields see `solve.restored`."""
    with reading("the checkpoint", CheckpointError, "holds no such state"):
        n_bits = architecture.n_bits
        networks = checked_bits(arrays, "networks", len(arrays["networks"]), n_bits)
        (best,) = checked_bits(arrays, "best", 1, n_bits)
        accuracy = checked_array(arrays, "best_accuracy", "f", ()).item()
        losses = checked_array(arrays, "best_losses", "f", None)
        solver = {
            name.removeprefix(SOLVER): array
            for name, array in arrays.items()
            if name.startswith(SOLVER)
        }
        if not rows or len(rows) != solver["step"].item():
            raise ValueError(f"a history of {len(rows)} steps")
    network = QuantizedNetwork.from_bits(architecture, best)
    return SolverState(solver, networks, Candidate(network, accuracy, tuple(losses.tolist())))
