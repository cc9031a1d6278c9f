"""A trained network in one file, ``model.npz``: plain arrays, no pickle.

``weights_l`` and ``biases_l`` are the integers of trained layer l, ``thresholds``, or ``means`` and
``deviations``, those of the features, and ``about`` is a JSON text with everything else. Files of
version 1, which knows only the sign and two classes, and of version 2, which knows only features
of signs, are read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from qnn_train.archive import read_arrays, reading
from qnn_train.data import PooledLevels, PooledSign
from qnn_train.errors import ModelFileError
from qnn_train.model.header import (
    FORMAT,
    FeaturesAbout,
    ModelAbout,
    architecture_of,
    layers_about,
)
from qnn_train.model.layer_arrays import checked_array, layer_arrays, network_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network import QuantizedNetwork

__all__ = ["TrainedModel"]

MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """From images to classes.

    Parameters
    ----------
    dataset : str
    classes : tuple of int
        Labels predicted for a negative and for a non-negative margin; with several outputs, for
        each of them being the largest.
    class_names : tuple of str
    features : PooledSign or PooledLevels
    network : QuantizedNetwork
    """

    dataset: str
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    features: PooledSign | PooledLevels
    network: QuantizedNetwork

    def predict(self, images: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each image (n, side, side); int64, shape (n,)."""
        predicted = self.network.predict(self.features.transform(images))
        if self.network.architecture.n_outputs == 1:
            predicted = (predicted > 0).astype(np.int64)
        return np.array(self.classes)[predicted]

    def save(self, path: Path) -> None:
        """Write the model to `path`."""
        arrays = _feature_arrays(self.features) | layer_arrays(self.network)
        np.savez_compressed(path, about=np.array(self._about().model_dump_json()), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = read_arrays(path, ModelFileError, max_bytes=MAX_BYTES)
        with reading(path, ModelFileError, "is no trained network"):
            about = ModelAbout.parse(str(arrays["about"]))
            features = _features(about, arrays)
            architecture = architecture_of(about.layers, majority=about.majority)
            network = network_of(architecture, arrays)
        if features.grid**2 != network.architecture.n_inputs or about.side % features.grid:
            raise ModelFileError(f"{path}: features and network do not fit together")
        n_classes = max(2, network.architecture.n_outputs)
        if not len(about.classes) == len(about.class_names) == n_classes:
            raise ModelFileError(f"{path}: classes and outputs do not fit together")
        return cls(about.dataset, about.classes, about.class_names, features, network)

    def _about(self) -> ModelAbout:
        return ModelAbout(
            format=FORMAT,
            dataset=self.dataset,
            classes=self.classes,
            class_names=self.class_names,
            side=self.features.side,
            layers=layers_about(self.network.architecture),
            majority=self.network.architecture.readout is None,
            features=_about_features(self.features),
        )


def _feature_arrays(features: PooledSign | PooledLevels) -> dict[str, Any]:
    if isinstance(features, PooledSign):
        return {"thresholds": features.thresholds}
    return {"means": features.means, "deviations": features.deviations}


def _about_features(features: PooledSign | PooledLevels) -> FeaturesAbout:
    if isinstance(features, PooledSign):
        return FeaturesAbout()
    return FeaturesAbout(kind="levels", levels=features.levels, cut=features.cut)


def _features(about: ModelAbout, arrays: dict[str, NDArray[Any]]) -> PooledSign | PooledLevels:
    if about.features.kind == "sign":
        features = PooledSign(about.side, checked_array(arrays, "thresholds", "f", None))
        inputs = len(features.thresholds)
    else:
        means, deviations = (
            checked_array(arrays, name, "f", None) for name in ("means", "deviations")
        )
        said = about.features
        features = PooledLevels(about.side, means, deviations, said.levels, said.cut)
        inputs = len(means)
    if features.grid**2 != inputs:
        raise ModelFileError(f"{inputs} features are no square grid")
    return features
