"""A trained network for images, with its features and the names of its classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, Field

from cim_hal.text import counted
from qnn_train.archive import checked_array, write_arrays
from qnn_train.arguments import checked
from qnn_train.arrays import Array, ArrayLike, Arrays, IntArray
from qnn_train.data import PooledLevels, PooledSign, Selection
from qnn_train.data.features import FeatureGrid
from qnn_train.errors import ModelFileError
from qnn_train.method_names import MACHINE
from qnn_train.model.file import (
    FROZEN,
    ModelHeader,
    SavedModel,
    Size,
    layer_headers,
    plain_layers,
    saved_kind,
)
from qnn_train.model.integer import IntegerModel, load_integers
from qnn_train.network import QuantizedNetwork
from qnn_train.network.intervals import Grid
from qnn_train.network.network import second_class

__all__ = ["TrainedModel", "load_model"]


class FeaturesHeader(BaseModel):
    """Features: signs at thresholds, or levels of a deviation; see `PooledSign`, `PooledLevels`."""

    model_config = FROZEN

    kind: Literal["sign", "levels"] = "sign"
    levels: Annotated[int, Field(ge=1, le=4096)] = 1
    cut: Annotated[int, Field(ge=1, le=4096)] = 1


class ImageModelHeader(ModelHeader):
    """What a file of a `TrainedModel` says beside its networks."""

    kind: Literal["images"] = "images"
    dataset: str
    classes: Annotated[tuple[int, ...], Field(min_length=2, max_length=4096)]
    class_names: tuple[str, ...]
    side: Size
    features: FeaturesHeader


@checked
@dataclass(frozen=True, eq=False)
class TrainedModel(SavedModel):
    """From images to classes.

    Parameters
    ----------
    dataset : str
    classes : tuple of int
        Labels predicted for a margin up to zero and for one above; with several outputs, for each
        of them being the largest.
    class_names : tuple of str
    features : PooledSign or PooledLevels
    network : QuantizedNetwork
    oracle : str
        What trained it: ``"machine"``, or the name of a search on the host.
    """

    dataset: str
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    features: PooledSign | PooledLevels
    network: QuantizedNetwork
    oracle: str = MACHINE

    HEADER = ImageModelHeader

    @classmethod
    def of(
        cls,
        selection: Selection,
        features: PooledSign | PooledLevels,
        network: QuantizedNetwork,
        oracle: str,
    ) -> Self:
        """Return the model of a network that was trained on some classes."""
        names = selection.dataset, selection.classes, selection.class_names
        return cls(*names, features, network, oracle)

    @property
    def inputs(self) -> Grid:
        """What an input of the network can be."""
        if isinstance(self.features, PooledSign):
            return Grid(-1, 1, 2)
        limit = self.features.steps.levels * self.features.steps.cut
        return Grid(-limit, limit, 1)

    @property
    def networks(self) -> QuantizedNetwork:
        """The network with a leading axis, as models of tables have it."""
        one, *arrays = self.network.architecture, self.network.weights, self.network.biases
        return QuantizedNetwork(one, *(tuple(each[None] for each in part) for part in arrays))

    @property
    def n_networks(self) -> int:
        """Number of networks that answer together."""
        return 1

    @property
    def n_outputs(self) -> int:
        """Margins of the network."""
        return self.network.architecture.n_outputs

    def predict(self, images: ArrayLike) -> IntArray:
        """Return the class of each image (n, side, side); int64, shape (n,)."""
        return self.answers(images)["label"]

    def answers(self, images: ArrayLike) -> dict[str, Array]:
        """Return ``label`` and ``margin``, (n,), or (n, classes) for several outputs."""
        margins = self.network.margin(self.features.transform(images)).astype(np.float64)
        one = self.n_outputs == 1
        index = second_class(margins).astype(np.int64) if one else margins.argmax(axis=-1)
        return {"label": np.array(self.classes)[index], "margin": margins}

    def save_plain(self, path: str | os.PathLike[str]) -> None:
        """Write integers as arrays that any program reads: weights, biases and activations."""
        about, arrays = self._described()
        found: dict[str, ArrayLike] = {"side": self.features.side, "cells": self.features.grid}
        found |= {"classes": self.classes, "class_names": self.class_names, **arrays}
        if about.kind == "levels":
            found |= {"levels": about.levels, "cut": about.cut}
        write_arrays(path, found | plain_layers(self.networks), lambda _: None, compressed=True)

    @classmethod
    def _made(cls, header: ImageModelHeader, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        features = _features(header, arrays)
        network = networks[0]
        if features.grid**2 != network.architecture.n_inputs or header.side % features.grid:
            raise ModelFileError("features and network do not fit together")
        n_classes = max(2, network.architecture.n_outputs)
        if not len(header.classes) == len(header.class_names) == n_classes:
            raise ModelFileError("classes and outputs do not fit together")
        if header.n_networks != 1:
            raise ModelFileError(f"{counted(header.n_networks, 'network')} in the place of one")
        return cls(header.dataset, header.classes, header.class_names, features, network)

    def _described(self) -> tuple[FeaturesHeader, dict[str, Array]]:
        """Return what the header says of the features, and their arrays."""
        if isinstance(self.features, PooledSign):
            return FeaturesHeader(), {"thresholds": self.features.thresholds}
        steps = self.features.steps
        about = FeaturesHeader(kind="levels", levels=steps.levels, cut=steps.cut)
        return about, {"means": steps.means, "deviations": steps.deviations}

    def _content(self) -> tuple[ImageModelHeader, QuantizedNetwork, Arrays]:
        about, arrays = self._described()
        header = ImageModelHeader(
            **layer_headers(self.network),
            dataset=self.dataset,
            classes=self.classes,
            class_names=self.class_names,
            side=self.features.side,
            features=about,
        )
        return header, self.network, arrays


def _features(header: ImageModelHeader, arrays: Arrays) -> PooledSign | PooledLevels:
    if header.features.kind == "sign":
        features = PooledSign(header.side, checked_array(arrays, "thresholds", "f", None))
        inputs = len(features.thresholds)
    else:
        means, deviations = (
            checked_array(arrays, name, "f", None) for name in ("means", "deviations")
        )
        steps = FeatureGrid(means, deviations, header.features.levels, header.features.cut)
        features = PooledLevels(header.side, steps)
        inputs = len(means)
    if features.grid**2 != inputs:
        raise ModelFileError(f"{counted(inputs, 'feature')} in no square grid")
    return features


@checked
def load_model(path: str | os.PathLike[str]) -> TrainedModel | IntegerModel:
    """Read a model of any kind.

    Raises
    ------
    ModelFileError
        Not such a file, or one whose parts do not fit together.
    """
    return TrainedModel.load(path) if saved_kind(path) == "images" else load_integers(path)
