"""Everything that decides a training run, and what it makes of a dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from cim_hal import CapabilityError
from qnn_train.data import PooledSign
from qnn_train.network import (
    Architecture,
    Layer,
    bias_code,
    threshold_unit,
    weight_code,
)
from qnn_train.network.architecture import hidden_sizes
from qnn_train.program import Assembly, SquaredLoss, Task, spins_needed
from qnn_train.solve import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import Capabilities
    from qnn_train.data import ImageSet, Pair

__all__ = ["Preparation", "Recipe", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train and on what.

    Parameters
    ----------
    train_samples : int
        Images in the program, drawn evenly from the two classes of the training split.
    grid : int
        Cells along a side; the network has grid² inputs.
    hidden : int or tuple of int
        Sign neurons of the hidden layer, or of each; 0 is a single threshold unit.
    readout : {"majority", "trained"}
        What follows them: a vote, or a trained layer without bias.
    weights : str
        Code of the weights, see `weight_code`.
    bias_bits : int
        Bits of each hidden bias; 0 for none.
    score : {"train", "subset"}
        On which images candidates are compared, and thresholds taken: the whole training split of
        the two classes, or only the images in the program.
    seed : int
        Of the draw of images.
    """

    train_samples: int = 20
    grid: int = 4
    hidden: int | tuple[int, ...] = 3
    readout: Literal["majority", "trained"] = "majority"
    weights: str = "binary"
    bias_bits: int = 2
    score: Literal["train", "subset"] = "train"
    seed: int = 0

    @property
    def architecture(self) -> Architecture:
        """The network to train."""
        weights, inputs = weight_code(self.weights), self.grid**2
        sizes = hidden_sizes(self.hidden)
        if not sizes:
            return threshold_unit(inputs, weights=weights, bias_bits=self.bias_bits)
        biases = bias_code(self.bias_bits)
        layers = tuple(Layer(*pair, weights, biases) for pair in pairwise((inputs, *sizes)))
        if self.readout == "majority":
            return Architecture(layers, None)
        return Architecture(layers, Layer(sizes[-1], 1, weights, bias_code(0)))

    @property
    def target(self) -> float:
        """Margin asked of each sample: a unanimous vote, or half of a threshold unit's inputs."""
        sizes = hidden_sizes(self.hidden)
        return float(sizes[-1]) if sizes else self.grid**2 / 2


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
    inputs: NDArray[np.int8]
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

    def digest(self) -> str:
        """Return a fingerprint of all that is trained on."""
        found = hashlib.sha256(repr((self.recipe, self.pair.classes)).encode())
        for part in (self.inputs, self.chosen.labels, *self.scorer.content):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def assemble(self) -> Assembly:
        """Make the program."""
        return self.task.assembly

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
