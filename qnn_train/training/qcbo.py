"""Training by quadratic programs with constraints: what is prepared, and its steps in a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from cim_hal import Capabilities, CapabilityError, DevicePool, Session
from cim_hal.text import counted
from qnn_train.archive import checked_array, checked_bits, reading
from qnn_train.arguments import checked
from qnn_train.arrays import Array, BitArray, NDArray
from qnn_train.data import ImageSet, Pair, PooledLevels, PooledSign
from qnn_train.errors import CheckpointError
from qnn_train.method_names import ON_ALL
from qnn_train.model.trained import TrainedModel
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.program import Assembly, ProgramSize, SquaredLoss, Task, spins_needed
from qnn_train.program.bounds import success_needed
from qnn_train.solve import Candidate, Scorer
from qnn_train.training.checkpoint import Checkpoint, fingerprint, machine_of
from qnn_train.training.descent import FAILURE, Examples, accuracy, success_row
from qnn_train.training.methods import Method, SolverState, TrainingStep, method_named, train
from qnn_train.training.oracles import OracleRecord, TrainingOracle, capabilities_of
from qnn_train.training.recipe import Recipe
from qnn_train.training.report import Outcome, Row, RunReport, finite

__all__ = ["Preparation", "QcboStepper", "prepare"]

SOLVER = "solver."
CUT = 2  # deviations beyond which all levels are the same: more only makes coefficients larger

# steps made, where the solver is after them, and what the oracle has done
_Position: TypeAlias = tuple[int, TrainingStep | SolverState | None, OracleRecord]


@dataclass(frozen=True, eq=False)
class Preparation:
    """A recipe carried out on two classes, up to the first call of a machine.

    Attributes
    ----------
    architecture : Architecture
    features : PooledSign or PooledLevels
    chosen : ImageSet
        The images in the program.
    inputs : integer array, shape (samples, grid²)
        Their features.
    scorer : Scorer
    """

    recipe: Recipe
    pair: Pair
    architecture: Architecture
    features: PooledSign | PooledLevels
    chosen: ImageSet
    inputs: BitArray | NDArray[np.int16]
    scorer: Scorer

    @property
    def spins(self) -> int:
        """Bits of the program."""
        return spins_needed(self.architecture, self.inputs)

    @cached_property
    def task(self) -> Task:
        """What is to be learned from the images in the program."""
        loss = SquaredLoss(self.recipe.target)
        return Task(self.architecture, self.inputs, self.chosen.labels, loss)

    def spins_of(self, batch: int | None) -> int:
        """Bits that the largest part of `batch` images may need; of the program if it is None."""
        if self.recipe.method in ON_ALL:
            return self.architecture.n_bits
        samples = len(self.inputs)
        if batch is None or batch >= samples:
            return self.spins
        count = -(-samples // batch)  # parts, dealt out evenly
        return self.architecture.n_bits + -(-samples // count) * self._each

    def check_fits(self, capabilities: Capabilities, *, batch: int | None = None) -> None:
        """Refuse a program that is too large for a machine, before it is made.

        The whole program, or its parts of `batch` images.

        Raises
        ------
        CapabilityError
            With a smaller proposal in its hint.
        """
        required = self.spins_of(batch) + capabilities.field_spins
        if required > capabilities.max_spins:
            raise CapabilityError(
                "max_spins",
                required=required,
                available=capabilities.max_spins,
                hint=self._proposal(capabilities.max_spins - capabilities.field_spins, batch),
            )

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes."""
        return self.pair.dataset, self.pair.classes

    def digest(self) -> str:
        """Return a fingerprint of the images as features."""
        return fingerprint(self.inputs, self.chosen.labels, *self.scorer.content)

    def stepper(
        self, session: Session | DevicePool | None, resume: Checkpoint | None = None
    ) -> QcboStepper:
        """Return the recipe's method, see ``Problem.stepper``; a TrainingError if there is none.

        A CapabilityError if the program, or its largest part, does not fit the machine.
        """
        return QcboStepper(self, session, resume)

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return Examples(self.features.transform(images.images), images.labels)

    def cost(self, capabilities: Capabilities) -> list[tuple[str, str]]:
        """Return what the training will take, by name; refuses as `check_fits` does."""
        recipe, batch = self.recipe, self.method.batch
        self.check_fits(capabilities, batch=batch)
        spins = self.spins_of(batch) + capabilities.field_spins
        size = self._size()
        runs = recipe.iterations * recipe.n_runs
        rows = [
            ("method", f"{recipe.method}: {self.method.about}"),
            ("network", str(self.architecture)),
            ("bits_per_parameter", f"{self.architecture.bits_per_parameter:.4g}"),
            ("n_train", str(len(self.chosen))),
            ("spins", str(spins)),
            ("couplings", f"at most {spins * (spins - 1) // 2}"),
            ("dynamic_range", f"{size.dynamic_range:.4g}"),
            ("calls", str(recipe.iterations)),
            ("runs", str(runs)),
        ]
        if capabilities.round_trip_s is not None:
            seconds = runs * capabilities.default_round_trips * capabilities.round_trip_s
            rows.append(("machine_s", f"{seconds:.4g}"))
        needed = success_needed(recipe.n_runs, FAILURE, recipe.iterations)
        return [*rows, success_row(needed)]

    def outcome(
        self, stepper: QcboStepper, session: Session | DevicePool | None, seconds: float
    ) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        state, pair, last = stepper.state, self.pair, stepper.rows[-1]
        network, size = state.best.network, self._size()
        report = RunReport.of(
            self.recipe,
            pair,
            self.architecture,
            capabilities_of(self.recipe, session),
            oracle=stepper.oracle_record,
            rows=stepper.rows,
            test_accuracy=accuracy(network, self.examples(pair.test)),
            train_accuracy=accuracy(network, self.examples(pair.train)),
            subset_accuracy=accuracy(network, self.examples(self.chosen)),
            n_train=len(pair.train),
            train_samples=len(self.chosen),
            bits_per_parameter=size.bits_per_parameter,
            spins=size.spins,
            couplings=size.couplings,
            equalities=size.equalities,
            products=size.products,
            batch=self.method.batch,
            steps=len(stepper.rows),
            candidates=len(state.networks),
            seconds=seconds,
            infeasibility=last.infeasibility,
            objective=last.objective,
            gap=last.gap,
            score=self.recipe.score,
        )
        return Outcome(TrainedModel.of(pair, self.features, network, self.recipe.oracle), report)

    def assemble(self) -> Assembly:
        """Make the program."""
        return self.task.assembly

    @property
    def method(self) -> Method:
        """What the recipe names; a TrainingError if it does not exist."""
        recipe = self.recipe
        return method_named(
            recipe.method, batch=recipe.batch, n_samples=recipe.n_runs, seed=recipe.seed
        )

    def _size(self) -> ProgramSize:
        """Return the size of the largest problem that a machine gets, and of its program."""
        if self.recipe.method not in ON_ALL:
            return ProgramSize.of(self.task.largest_part(self.method.batch))
        widest = int(np.abs(self.inputs).sum(axis=1).argmax())
        labels = self.chosen.labels[[widest]]
        task = replace(self.task, inputs=self.inputs[[widest]], labels=labels)
        one = ProgramSize.of(task.assembly)
        spins, neurons = self.architecture.n_bits, self.architecture.layers[0].outputs
        couplings = neurons * (each := spins // neurons) * (each - 1) // 2
        equalities = one.equalities * len(self.inputs)
        return replace(one, spins=spins, couplings=couplings, equalities=equalities)

    @cached_property
    def _each(self) -> int:
        """The most bits of an image; where features are -1 and +1, all have as many."""
        network, rows = self.architecture, np.unique(self.inputs, axis=0)
        return max(spins_needed(network, row[None]) for row in rows) - network.n_bits

    def _proposal(self, available: int, batch: int | None) -> str:
        """Name the most images that fit."""
        fitting = (available - self.architecture.n_bits) // self._each if self._each else 0
        if batch is not None and fitting >= 1:
            return f"--batch {fitting} fits, or a smaller --grid or --hidden"
        if batch is None and fitting >= 2:
            return f"--train-samples {fitting} fits, or a smaller --grid or --hidden"
        return "use a smaller --grid or --hidden"


@checked
def prepare(recipe: Recipe, pair: Pair) -> Preparation:
    """Draw the images, take the thresholds and compute the features.

    Raises
    ------
    DataError
        Too many or too few training samples, or a grid that does not divide the images.
    AssemblyError
        A code of weights or biases that does not exist.
    """
    architecture = recipe.architecture
    chosen, samples = pair.train, recipe.train_samples
    if samples is not None:
        chosen = chosen.take(chosen.stratified(samples, seed=recipe.seed))
    known = pair.train if recipe.score == "train" else chosen
    features: PooledSign | PooledLevels
    if recipe.levels is None:
        features = PooledSign.fit(known.images, grid=recipe.grid)
    else:
        levels = recipe.levels
        features = PooledLevels.fit(known.images, grid=recipe.grid, levels=levels, cut=CUT)
    scorer = Scorer(features.transform(known.images), known.labels)
    inputs = features.transform(chosen.images)
    return Preparation(recipe, pair, architecture, features, chosen, inputs, scorer)


class QcboStepper:
    """Steps of the method of a recipe; arguments as of ``Problem.stepper``.

    Raises
    ------
    CapabilityError
        The program does not fit the machine, or a call has more runs than it makes.
    CheckpointError
        Arrays of another problem, or damaged ones.
    """

    def __init__(
        self,
        problem: Preparation,
        session: Session | DevicePool | None,
        resume: Checkpoint | None = None,
    ) -> None:
        recipe, method = problem.recipe, problem.method
        capabilities = capabilities_of(recipe, session)
        problem.check_fits(capabilities, batch=method.batch)
        capabilities.check_runs(recipe.n_runs)
        self.machine = machine_of(capabilities)
        self._iterations = recipe.iterations
        self._rows = [] if resume is None else resume.history.rows()
        state, record = None, OracleRecord()
        if resume is not None:
            state, record = _restored(resume, problem.architecture)
        self._last: _Position = len(self._rows), state, record
        self._oracle = TrainingOracle(recipe, session, record)
        self._steps = train(problem.task, self._oracle, problem.scorer, method=method, saved=state)

    @property
    def calls(self) -> int:
        """Calls of the oracle up to the last step, those before a checkpoint too."""
        count = self._last[0]
        return self._rows[count - 1].calls if count else 0

    @property
    def oracle_record(self) -> OracleRecord:
        """What the oracle has done up to the last step."""
        return replace(self._last[2], calls=self.calls)

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
        """Where the training is after its last step; a RuntimeError if there was none."""
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
        self._last = count + 1, made, self._oracle.record
        return made

    def status(self) -> str:
        """Return infeasibility and accuracy after the last step."""
        count = self._last[0]
        if not count:
            return ""
        row = self._rows[count - 1]
        residual = row.infeasibility
        known = "" if residual is None else f"infeasibility {residual:.3f}  "
        return f"{known}accuracy {100 * row.accuracy:.2f} %"

    def arrays(self) -> dict[str, Array]:
        """Return the state: fields of the solver's, the different networks seen, and the best."""
        state = self.state
        solver = {SOLVER + name: array for name, array in state.solver.items()}
        return (
            solver
            | self._last[2].arrays()
            | {
                "networks": np.packbits(state.networks, axis=1),
                "best": np.packbits([state.best.network.to_bits()], axis=1),
                "best_accuracy": np.array(state.best.accuracy),
                "best_losses": np.array(state.best.losses, np.float64),
            }
        )


def _row(step: TrainingStep) -> Row:
    iterate = step.iterate
    return Row(
        iterate.calls,
        finite(iterate.objective),
        step.best.accuracy,
        finite(iterate.infeasibility),
        finite(iterate.gap),
    )


def _restored(
    checkpoint: Checkpoint, architecture: Architecture
) -> tuple[SolverState, OracleRecord]:
    """Return the state that arrays hold; of the solver's own fields see `solve.restored`."""
    arrays, n_bits = checkpoint.arrays, architecture.n_bits
    with reading("the checkpoint", CheckpointError, "holds no such state", arrays):
        networks = checked_bits(arrays, "networks", len(arrays["networks"]), n_bits)
        (best,) = checked_bits(arrays, "best", 1, n_bits)
        accuracy = checked_array(arrays, "best_accuracy", "f", ()).item()
        losses = checked_array(arrays, "best_losses", "f", None)
        own = [name for name in arrays if name.startswith(SOLVER)]
        solver = {name.removeprefix(SOLVER): arrays[name] for name in own}
        steps = len(checkpoint.history.calls)
        if not steps or steps != solver["step"].item():
            raise ValueError(f"a history of {counted(steps, 'step')}")
        record = OracleRecord.restored(arrays, checkpoint.history.calls[-1])
    network = QuantizedNetwork.from_bits(architecture, best)
    found = Candidate(network, accuracy, tuple(losses.tolist()))
    return SolverState(solver, networks, found), record
