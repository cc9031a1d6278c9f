"""From the parameters of an estimator and its samples to a descent."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from cim_hal import DevicePool, Session, open_device
from qnn_train.data.grid import FeatureGrid
from qnn_train.estimator.descent import Descent
from qnn_train.training.proximal_problem import Examples
from qnn_train.training.proximal_recipe import ProximalRecipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cim_hal import Driver
    from qnn_train.estimator.base import QuantizedNetworkEstimator
    from qnn_train.estimator.prediction_task import PredictionTask

__all__ = ["opened", "plan"]

OUTPUT_BIAS_BITS = 3


def plan(
    estimator: QuantizedNetworkEstimator,
    samples: NDArray[np.float64],
    answers: NDArray[Any],
    task: PredictionTask,
) -> tuple[FeatureGrid, Descent]:
    """Split the samples, put them on the grid, and say what is trained.

    Parameters
    ----------
    answers : array, shape (n,) or (n, outputs)
        To the samples.
    """
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    held, held_answers = samples[:0], answers[:0]
    if estimator.early_stopping:
        samples, held, answers, held_answers = cast("Any", train_test_split)(
            samples,
            answers,
            test_size=estimator.validation_fraction,
            stratify=task.strata(answers),
            random_state=seed,
        )
    grid = FeatureGrid.fit(samples, levels=estimator.levels, cut=estimator.cut)
    recipe = _recipe(estimator, task, samples.shape[1], seed)
    descent = Descent(
        task=task,
        architecture=recipe.architecture(task.n_outputs, samples.shape[1]),
        recipe=recipe,
        train=Examples(grid.transform(samples), task.labels(answers)),
        validation=Examples(grid.transform(held), task.labels(held_answers)),
        patience=estimator.patience if estimator.early_stopping else 0,
        block_spins=estimator.block_spins,
        callbacks=tuple(estimator.callbacks or ()),
    )
    return grid, descent


@contextmanager
def opened(device: str | Driver | Session | DevicePool) -> Iterator[Session | DevicePool]:
    """Open a target and close it again; leave what is open as it is."""
    if isinstance(device, Session | DevicePool):
        yield device
    else:
        with open_device(device) as session:
            yield session


def _recipe(
    estimator: QuantizedNetworkEstimator, task: PredictionTask, n_features: int, seed: int
) -> ProximalRecipe:
    """Return the recipe, its reaches in proportion to the spread of a sum of features."""
    spread = float(np.sqrt(n_features))
    given, weights = estimator.hidden, estimator.weights
    hidden = tuple(map(int, given)) if isinstance(given, Iterable) else int(given)
    last_biases, biases = estimator.output_bias_bits, estimator.bias_bits
    if last_biases is None:
        last_biases = 0 if task.loss.free_offset else OUTPUT_BIAS_BITS
        biases = biases if hidden else last_biases
    return ProximalRecipe(
        hidden=hidden,
        readout="trained",
        activation=estimator.activation,
        clip=max(1.0, 2.0 * spread),  # that of the presets: 8 for 16 inputs, about 16 for 49
        weights=weights if isinstance(weights, str) else tuple(weights),
        bias_bits=biases,
        bias_reach=0.8 * spread,
        output_bias_bits=last_biases,
        sweeps=estimator.sweeps,
        ladder=tuple(estimator.ladder),
        n_runs=estimator.n_runs,
        round_trips=estimator.round_trips,
        seed=seed,
    )
