"""Recipes carried out on the images of some classes, up to the first call of a machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cim_hal import CapabilityError
from qnn_train.data import PooledLevels, PooledSign
from qnn_train.data.datasets import augmented
from qnn_train.errors import DataError
from qnn_train.model.trained import TrainedModel
from qnn_train.program import Assembly, ProgramSize, SquaredLoss, Task, spins_needed
from qnn_train.solve import CrossEntropy, Scorer
from qnn_train.training.checkpoint import fingerprint
from qnn_train.training.descent import Cost, DescentProblem, Examples, ImageJudge, accuracy
from qnn_train.training.methods import method_named
from qnn_train.training.proximal import ProximalStepper
from qnn_train.training.qcbo import QcboStepper
from qnn_train.training.recipe import ProximalRecipe, Recipe
from qnn_train.training.report import History, Outcome, RunReport

if TYPE_CHECKING:
    from cim_hal import Capabilities, DevicePool, Session
    from qnn_train.arrays import Arrays, BitArray
    from qnn_train.data import ImageSet, Pair, Selection
    from qnn_train.network import Architecture
    from qnn_train.training.methods import Method
    from qnn_train.training.report import Row


__all__ = ["Preparation", "ProximalProblem", "prepare", "problem_of"]


@dataclass(frozen=True, eq=False)
class Preparation:
    """A recipe carried out on two classes, up to the first call of a machine.

    Attributes
    ----------
    architecture : Architecture
    features : PooledSign
    chosen : ImageSet
        The images in the program.
    inputs : int8 array, shape (samples, grid²)
        Their features.
    scorer : Scorer
    """

    recipe: Recipe
    pair: Pair
    architecture: Architecture
    features: PooledSign
    chosen: ImageSet
    inputs: BitArray
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
        """Bits of the largest part of `batch` images; of the program where it is None."""
        samples = len(self.inputs)
        if batch is None or batch >= samples:
            return self.spins
        count = -(-samples // batch)  # parts, dealt out evenly
        return self.architecture.n_bits + -(-samples // count) * self._each

    def check_fits(self, capabilities: Capabilities, *, batch: int | None = None) -> None:
        """Refuse a program that is too large for a machine, before it is made.

        Parameters
        ----------
        batch : int, optional
            Images of a part; the whole program by default.

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
        self,
        session: Session | DevicePool,
        arrays: Arrays | None = None,
        rows: list[Row] | None = None,
    ) -> QcboStepper:
        """Return the method of the recipe, see `Problem.stepper`.

        Raises
        ------
        CapabilityError
            The program, or its largest part, does not fit the machine.
        TrainingError
            No such method.
        """
        method = self._method()
        self.check_fits(session.capabilities, batch=method.batch)
        return QcboStepper(
            self.recipe,
            session,
            method=method,
            task=self.task,
            scorer=self.scorer,
            arrays=arrays,
            rows=rows,
        )

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return Examples(self.features.transform(images.images), images.labels)

    def cost(self, capabilities: Capabilities) -> list[tuple[str, str]]:
        """Return what the training will take, by name.

        Raises
        ------
        CapabilityError
            The program does not fit the machine.
        """
        recipe = self.recipe
        chosen = self._method()
        self.check_fits(capabilities, batch=chosen.batch)
        spins = self.spins_of(chosen.batch) + capabilities.field_spins
        size = ProgramSize.of(self.task.largest_part(chosen.batch))
        runs = recipe.iterations * recipe.n_runs
        rows = [
            ("method", f"{recipe.method}: {chosen.about}"),
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
        return rows

    def outcome(
        self, stepper: QcboStepper, session: Session | DevicePool, seconds: float
    ) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        state, pair, last = stepper.state, self.pair, stepper.rows[-1]
        network = state.best.network
        model = TrainedModel(pair.dataset, pair.classes, pair.class_names, self.features, network)
        assembly = self.task.largest_part(stepper.method.batch)
        size = ProgramSize.of(assembly)
        report = RunReport(
            **_told(self, pair, assembly.architecture, stepper, session),
            test_accuracy=accuracy(network, self.examples(pair.test)),
            train_accuracy=accuracy(network, self.examples(pair.train)),
            subset_accuracy=accuracy(network, self.examples(self.chosen)),
            n_test=len(pair.test),
            n_train=len(pair.train),
            train_samples=len(self.chosen),
            bits_per_parameter=size.bits_per_parameter,
            spins=size.spins,
            couplings=size.couplings,
            equalities=size.equalities,
            products=size.products,
            batch=stepper.method.batch,
            steps=len(stepper.rows),
            candidates=len(state.networks),
            seconds=seconds,
            infeasibility=last.infeasibility,
            objective=last.objective,
            gap=last.gap,
            score=self.recipe.score,
        )
        return Outcome(model, report)

    def assemble(self) -> Assembly:
        """Make the program."""
        return self.task.assembly

    def _method(self) -> Method:
        """Return the method that the recipe names."""
        recipe = self.recipe
        return method_named(
            recipe.method, batch=recipe.batch, n_samples=recipe.n_runs, seed=recipe.seed
        )

    @property
    def _each(self) -> int:
        """Bits of one image, the same for all, features being -1 and +1."""
        return (self.spins - self.architecture.n_bits) // len(self.inputs)

    def _proposal(self, available: int, batch: int | None) -> str:
        """Name the most images that fit."""
        fitting = (available - self.architecture.n_bits) // self._each if self._each else 0
        if batch is not None and fitting >= 1:
            return f"--batch {fitting} fits, or a smaller --grid or --hidden"
        if batch is None and fitting >= 2:
            return f"--train-samples {fitting} fits, or a smaller --grid or --hidden"
        return "use a smaller --grid or --hidden"


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
    chosen = pair.train.take(pair.train.stratified(recipe.train_samples, seed=recipe.seed))
    known = pair.train if recipe.score == "train" else chosen
    features = PooledSign.fit(known.images, grid=recipe.grid)
    scorer = Scorer(features.transform(known.images), known.labels)
    inputs = features.transform(chosen.images)
    return Preparation(recipe, pair, architecture, features, chosen, inputs, scorer)


@dataclass(frozen=True, eq=False)
class ProximalProblem:
    """Images drawn, split and turned into features.

    Attributes
    ----------
    recipe : ProximalRecipe
    selection : Selection
    features : PooledLevels
        Fitted on the images that are trained on.
    descent : DescentProblem
    """

    recipe: ProximalRecipe
    selection: Selection
    features: PooledLevels
    descent: DescentProblem

    @classmethod
    def of(cls, recipe: ProximalRecipe, selection: Selection) -> Self:
        """Draw and split the images; the test images are not touched.

        Raises
        ------
        DataError
            More or fewer images than there are, or a grid that does not divide them.
        AssemblyError
            A network that cannot be.
        """
        recipe.architecture(selection.n_outputs)  # refuses before any image is read
        drawn = selection.train
        if recipe.train_samples is not None:
            drawn = drawn.take(drawn.stratified(recipe.train_samples, seed=recipe.seed))
        kept, held = _split(drawn, recipe.validation, recipe.seed)
        kept = augmented(kept, shift=recipe.shift, mirror=recipe.mirror)
        features = PooledLevels.fit(
            kept.images, grid=recipe.grid, levels=recipe.levels, cut=recipe.cut
        )
        train, validation = (
            Examples(features.transform(part.images), part.labels) for part in (kept, held)
        )
        judge = ImageJudge(recipe, train, validation, selection.n_outputs)
        descent = DescentProblem(
            recipe, selection.n_outputs, train, validation, CrossEntropy(), judge
        )
        return cls(recipe, selection, features, descent)

    @property
    def architecture(self) -> Architecture:
        """The network that comes out."""
        return self.descent.architecture

    @property
    def train(self) -> Examples:
        """What is trained on."""
        return self.descent.train

    @property
    def validation(self) -> Examples:
        """What is kept apart; empty where the recipe keeps nothing."""
        return self.descent.validation

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes."""
        return self.selection.dataset, self.selection.classes

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return Examples(self.features.transform(images.images), images.labels)

    def digest(self) -> str:
        """Return a fingerprint of the images as features."""
        return self.descent.digest()

    def stepper(
        self,
        session: Session | DevicePool,
        arrays: Arrays | None = None,
        rows: list[Row] | None = None,
    ) -> ProximalStepper:
        """Return the descent, see `Problem.stepper`."""
        return ProximalStepper(self.descent, session, arrays, rows)

    def cost(self, capabilities: Capabilities) -> list[tuple[str, str]]:
        """Return what the training will take, by name; see `Cost`."""
        return Cost.of(self.descent, capabilities).rows()

    def outcome(
        self, stepper: ProximalStepper, session: Session | DevicePool, seconds: float
    ) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        selection, held, network = self.selection, self.validation, stepper.best
        model = TrainedModel(
            selection.dataset, selection.classes, selection.class_names, self.features, network
        )
        spins = max(map(max, stepper.sizes))
        report = RunReport(
            **_told(self, selection, self.architecture, stepper, session),
            test_accuracy=accuracy(network, self.examples(selection.test)),
            train_accuracy=accuracy(network, self.train),
            validation_accuracy=accuracy(network, held) if len(held) else None,
            n_test=len(selection.test),
            n_train=len(self.train),
            n_validation=len(held),
            bits_per_parameter=self.architecture.bits_per_parameter,
            blocks=len(stepper.sizes[-1]),
            spins=spins,
            couplings=spins * (spins - 1) // 2,
            steps=stepper.progress[0],
            seconds=seconds,
        )
        return Outcome(model, report)


def problem_of(
    recipe: Recipe | ProximalRecipe, selection: Selection
) -> Preparation | ProximalProblem:
    """Carry out a recipe of any method on the images of some classes.

    Raises
    ------
    DataError, AssemblyError
        See `prepare` and `ProximalProblem.of`.
    """
    if isinstance(recipe, ProximalRecipe):
        return ProximalProblem.of(recipe, selection)
    return prepare(recipe, selection)


def _told(
    problem: Preparation | ProximalProblem,
    selection: Selection,
    architecture: Architecture,
    stepper: QcboStepper | ProximalStepper,
    session: Session | DevicePool,
) -> dict[str, Any]:
    """Return what a report says of any method."""
    recipe, capabilities = problem.recipe, session.capabilities
    return {
        "method": recipe.method,
        "dataset": selection.dataset,
        "classes": selection.classes,
        "class_names": selection.class_names,
        "network": str(architecture),
        "weights": recipe.weights,
        "bias_bits": recipe.bias_bits,
        "grid": recipe.grid,
        "n_parameters": architecture.n_parameters,
        "n_bits": architecture.n_bits,
        "oracle_calls": stepper.calls,
        "runs_per_call": recipe.n_runs,
        "seed": recipe.seed,
        "device": capabilities.name,
        "coupling_bits": recipe.coupling_bits or capabilities.coupling_bits,
        "recipe": asdict(recipe),
        "history": History.of(stepper.rows),
    }


def _split(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Keep a share of each class apart."""
    held = np.zeros(len(images), dtype=bool)
    rng = np.random.default_rng([seed, 4])
    for label in np.unique(images.labels) if share else ():
        members = np.flatnonzero(images.labels == label)
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise DataError(
                f"a validation share of {share} of {len(members)} images a class",
                hint="leave at least one image on each side",
            )
        held[rng.choice(members, count, replace=False)] = True
    return images.take(np.flatnonzero(~held)), images.take(np.flatnonzero(held))
