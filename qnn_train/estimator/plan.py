"""From the parameters of a classifier and its samples to a descent, and from there to a model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from cim_hal import DevicePool, Session, open_device
from qnn_train.data.grid import FeatureGrid
from qnn_train.estimator.descent import Descent
from qnn_train.estimator.integers import IntegerClassifier
from qnn_train.network import QuantizedNetwork
from qnn_train.scale.problem import Examples
from qnn_train.scale.recipe import ProximalRecipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cim_hal import Driver
    from qnn_train.estimator.classifier import QuantizedNetworkClassifier
    from qnn_train.estimator.descent import Found

__all__ = ["opened", "plan", "targets_for", "vote_of"]


def plan(
    classifier: QuantizedNetworkClassifier,
    samples: NDArray[np.float64],
    indices: NDArray[np.int64],
) -> tuple[FeatureGrid, Descent]:
    """Split the samples, put them on the grid, and say what is trained.

    Parameters
    ----------
    indices : int64 array, shape (n,)
        Number of the class of each sample; every class is there.
    """
    seed = int(check_random_state(classifier.random_state).randint(2**31 - 1))
    n_classes = int(indices.max()) + 1
    held, held_indices = samples[:0], indices[:0]
    if classifier.early_stopping:
        samples, held, indices, held_indices = cast("Any", train_test_split)(
            samples,
            indices,
            test_size=classifier.validation_fraction,
            stratify=indices,
            random_state=seed,
        )
    grid = FeatureGrid.fit(samples, levels=classifier.levels, cut=classifier.cut)
    recipe = _recipe(classifier, samples.shape[1], seed)
    descent = Descent(
        architecture=recipe.architecture(1 if n_classes == 2 else n_classes, samples.shape[1]),
        recipe=recipe,
        train=Examples(grid.transform(samples), targets_for(indices, n_classes)),
        validation=Examples(grid.transform(held), targets_for(held_indices, n_classes)),
        patience=classifier.patience if classifier.early_stopping else 0,
        block_spins=classifier.block_spins,
        callbacks=tuple(classifier.callbacks or ()),
    )
    return grid, descent


def targets_for(indices: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return -1 and +1 for two classes, numbers for several."""
    return 2 * indices - 1 if n_classes == 2 else indices.astype(np.int64)


def vote_of(chosen: Sequence[Found], grid: FeatureGrid, classes: NDArray[Any]) -> IntegerClassifier:
    """Return the model in which all these networks add their margins."""
    networks = [each.network for each in chosen]
    weights = tuple(np.stack(layer) for layer in zip(*(n.weights for n in networks), strict=True))
    biases = tuple(np.stack(layer) for layer in zip(*(n.biases for n in networks), strict=True))
    scale = float(np.mean([each.scale for each in chosen])) / len(chosen)
    together = QuantizedNetwork(networks[0].architecture, weights, biases)
    return IntegerClassifier(grid, together, classes, scale)


@contextmanager
def opened(device: str | Driver | Session | DevicePool) -> Iterator[Session | DevicePool]:
    """Open a target and close it again; leave what is open as it is."""
    if isinstance(device, Session | DevicePool):
        yield device
    else:
        with open_device(device) as session:
            yield session


def _recipe(classifier: QuantizedNetworkClassifier, n_features: int, seed: int) -> ProximalRecipe:
    """Return the recipe, its reaches in proportion to the spread of a sum of features."""
    spread = float(np.sqrt(n_features))
    return ProximalRecipe(
        hidden=classifier.hidden,
        readout="trained",
        activation=classifier.activation,
        clip=max(1.0, 2.0 * spread),  # that of the presets: 8 for 16 inputs, about 16 for 49
        weights=classifier.weights,
        bias_bits=classifier.bias_bits,
        bias_reach=0.8 * spread,
        output_bias_bits=classifier.output_bias_bits,
        sweeps=classifier.sweeps,
        ladder=tuple(classifier.ladder),
        n_runs=classifier.n_runs,
        round_trips=classifier.round_trips,
        seed=seed,
    )
