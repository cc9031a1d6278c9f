"""A recipe carried out on classes of a dataset, up to the first call of a machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.data import PooledLevels
from qnn_train.data.datasets import augmented
from qnn_train.errors import DataError
from qnn_train.solve.blocks import block_bits, partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import Capabilities, PumpSchedule
    from qnn_train.data import ImageSet, Selection
    from qnn_train.network import Architecture
    from qnn_train.training.proximal_recipe import ProximalRecipe, Stage

__all__ = ["Examples", "ProximalProblem"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Features and what they are.

    Parameters
    ----------
    inputs : int16 array, shape (samples, n_inputs)
    labels : int64 array, shape (samples,); or float64 array, shape (samples, outputs)
        Classes, or real numbers.
    """

    inputs: NDArray[np.int16]
    labels: NDArray[np.int64] | NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ProximalProblem:
    """Images drawn, split and turned into features.

    Attributes
    ----------
    recipe : ProximalRecipe
    selection : Selection
    architecture : Architecture
    features : PooledLevels
        Fitted on the images that are trained on.
    train, validation : Examples
        `validation` is empty where the recipe keeps none.
    """

    recipe: ProximalRecipe
    selection: Selection
    architecture: Architecture
    features: PooledLevels
    train: Examples
    validation: Examples

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
        architecture = recipe.architecture(selection.n_outputs)
        drawn = selection.train
        if recipe.train_samples is not None:
            drawn = drawn.take(drawn.stratified(recipe.train_samples, seed=recipe.seed))
        kept, held = _split(drawn, recipe.validation, recipe.seed)
        kept = augmented(kept, shift=recipe.shift, mirror=recipe.mirror)
        features = PooledLevels.fit(
            kept.images, grid=recipe.grid, levels=recipe.levels, cut=recipe.cut
        )
        parts = (Examples(features.transform(p.images), p.labels) for p in (kept, held))
        return cls(recipe, selection, architecture, features, *parts)

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return Examples(self.features.transform(images.images), images.labels)

    def block_spins(self, capabilities: Capabilities) -> int:
        """Return the largest number of bits of a block on a machine."""
        room = capabilities.max_spins - capabilities.field_spins
        return min(self.recipe.block_spins, room)

    def schedule(self, capabilities: Capabilities) -> PumpSchedule:
        """Return the pump the machine recommends, over the round trips of the recipe."""
        trips = self.recipe.round_trips
        default = capabilities.default_schedule
        return default if trips is None else default.stretched(trips)

    @cached_property
    def stages(self) -> list[Stage]:
        """The descents, one after the other; see `ProximalRecipe.stages`."""
        return self.recipe.stages(self.selection.n_outputs)

    def block_sizes(self, block_spins: int) -> list[list[int]]:
        """Return the bits of every block, of each stage.

        Raises
        ------
        AssemblyError
            A neuron does not fit.
        """
        found = []
        for stage in self.stages:
            blocks = partition(stage.architecture, block_spins, reads=self.recipe.block_reads)
            sizes = [len(block_bits(stage.architecture, block).positions) for block in blocks]
            found.append(sizes)
        return found

    def digest(self) -> str:
        """Return a fingerprint of all that is trained on."""
        found = hashlib.sha256(repr((self.recipe, self.selection.classes)).encode())
        for part in (self.train, self.validation):
            found.update(np.ascontiguousarray(part.inputs).tobytes())
            found.update(np.ascontiguousarray(part.labels).tobytes())
        return found.hexdigest()


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
