"""Proximal descent on images: drawn, split, turned into features, and measured at the end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from cim_hal.text import counted
from qnn_train.data import ImageSet, PooledLevels, Selection
from qnn_train.data.datasets import augmented
from qnn_train.errors import AssemblyError, DataError
from qnn_train.model.trained import TrainedModel
from qnn_train.network import QuantizedNetwork
from qnn_train.solve import CrossEntropy
from qnn_train.training.checkpoint import Checkpoint
from qnn_train.training.descent import Cost, DescentProblem, Examples, ImageJudge, accuracy
from qnn_train.training.oracles import capabilities_of
from qnn_train.training.proximal import ProximalStepper
from qnn_train.training.recipe import ProximalRecipe
from qnn_train.training.report import Outcome, Row, RunReport
from qnn_train.training.start import FILE, check_agreement, fitted, loaded

if TYPE_CHECKING:
    from cim_hal import Capabilities, DevicePool, Session

__all__ = ["ProximalProblem"]

ImageInit: TypeAlias = TrainedModel | QuantizedNetwork | str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ProximalProblem(DescentProblem):
    """Images drawn, split and turned into features; make one with `of`."""

    selection: Selection
    features: PooledLevels  # fitted on the images that are trained on

    KEEPS_SWEEPS = False

    @classmethod
    def of(
        cls, recipe: ProximalRecipe, selection: Selection, *, init: ImageInit | None = None
    ) -> Self:
        """Draw and split the images; the test images are not touched.

        Parameters
        ----------
        init : TrainedModel, path of its file, or QuantizedNetwork, optional
            Where every descent begins, in the place of random networks; the features are those
            of the model. A network reads the features of this problem.

        Raises
        ------
        DataError
            More or fewer images than there are, or a grid that does not divide them.
        AssemblyError
            A network that cannot be, or a start that does not fit: the message says what differs.
        ModelFileError
            A file that is no such model.
        """
        outputs = selection.n_outputs
        stage = recipe.stages(outputs)[-1]  # refuses before any image is read
        network, known = _given(init, recipe, selection)
        if network is not None:
            network = fitted(stage.architectures, network)
        drawn = selection.train
        if recipe.train_samples is not None:
            drawn = drawn.take(drawn.stratified(recipe.train_samples, seed=recipe.seed))
        kept, held = _split(drawn, recipe.validation, recipe.seed)
        kept = augmented(kept, shift=recipe.shift, mirror=recipe.mirror)
        features = known or PooledLevels.fit(
            kept.images, grid=recipe.grid, levels=recipe.levels, cut=recipe.cut
        )
        train, validation = (
            Examples(features.transform(part.images), part.labels) for part in (kept, held)
        )
        judge = ImageJudge(recipe, train, validation, outputs)
        parts = recipe, outputs, train, validation, CrossEntropy(), judge, selection, features
        return cls(*parts, init=network)

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes."""
        return self.selection.dataset, self.selection.classes

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return Examples(self.features.transform(images.images), images.labels)

    def stepper(
        self, session: Session | DevicePool | None, resume: Checkpoint | None = None
    ) -> ProximalStepper:
        """Return the descent, see `Problem.stepper`."""
        return ProximalStepper(self, session, resume)

    def cost(self, capabilities: Capabilities) -> list[tuple[str, str]]:
        """Return what the training will take, by name; see `Cost`."""
        return Cost.of(self, capabilities).rows()

    def outcome(
        self, stepper: ProximalStepper, session: Session | DevicePool | None, seconds: float
    ) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        selection, held, network = self.selection, self.validation, stepper.best
        spins = max(map(max, stepper.sizes))
        report = RunReport.of(
            self.recipe,
            selection,
            self.architecture,
            capabilities_of(self.recipe, session),
            oracle=stepper.oracle_record,
            rows=stepper.rows,
            test_accuracy=accuracy(network, self.examples(selection.test)),
            train_accuracy=accuracy(network, self.train),
            validation_accuracy=accuracy(network, held) if len(held) else None,
            n_train=len(self.train),
            n_validation=len(held),
            bits_per_parameter=self.architecture.bits_per_parameter,
            blocks=len(stepper.sizes[-1]),
            spins=spins,
            couplings=spins * (spins - 1) // 2,
            steps=stepper.progress[0],
            init=_told(stepper.init_row),
            seconds=seconds,
        )
        return Outcome(
            TrainedModel.of(selection, self.features, network, self.recipe.oracle), report
        )


def _given(
    init: ImageInit | None, recipe: ProximalRecipe, selection: Selection
) -> tuple[QuantizedNetwork | None, PooledLevels | None]:
    """Return network and features of a start; refuse one of other images, classes or features."""
    if init is None or isinstance(init, QuantizedNetwork):
        return init, None
    model = init if isinstance(init, TrainedModel) else loaded(init, TrainedModel.load)
    side = selection.train.images.shape[-1]
    known = model.features
    if not isinstance(known, PooledLevels):
        raise AssemblyError("init does not fit: its features are signs, not levels", hint=FILE)
    names = "dataset", "classes", "side of images", "grid", "levels", "cut"
    steps = known.steps
    given = model.dataset, model.classes, known.side, known.grid, steps.levels, steps.cut
    wanted = (
        *(selection.dataset, tuple(selection.classes), side),
        *(recipe.grid, recipe.levels, recipe.cut),
    )
    check_agreement(dict(zip(names, given, strict=True)), dict(zip(names, wanted, strict=True)))
    return model.network, known


def _told(row: Row | None) -> dict[str, Any] | None:
    """Return what a report says of a given network."""
    if row is None:
        return None
    return {
        "objective": row.objective,
        "train_accuracy": row.accuracy,
        "validation_accuracy": row.validation_accuracy,
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
                f"a validation share of {share} of {counted(len(members), 'image')} a class",
                hint="leave at least one image on each side",
            )
        held[rng.choice(members, count, replace=False)] = True
    return images.take(np.flatnonzero(~held)), images.take(np.flatnonzero(held))
