"""Trained networks as integers, for tables: what predicts, and what is written to a file."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cim_hal.text import counted
from qnn_train.archive import checked_array, write_arrays
from qnn_train.arrays import Array, ArrayLike, Arrays, FloatArray
from qnn_train.data.columns import TableHeader
from qnn_train.data.features import FeatureGrid
from qnn_train.errors import ModelFileError
from qnn_train.method_names import MACHINE
from qnn_train.model.file import (
    ModelHeader,
    SavedModel,
    layer_headers,
    plain_layers,
    saved_kind,
)
from qnn_train.network import QuantizedNetwork
from qnn_train.network.intervals import Grid
from qnn_train.network.network import second_class
from qnn_train.solve.losses import probabilities

__all__ = ["IntegerClassifier", "IntegerModel", "IntegerRegressor", "load_integers"]

Level = Annotated[int, Field(ge=1, le=32_767)]


class IntegerHeader(ModelHeader):
    """What a file of an `IntegerModel` says beside its networks."""

    kind: Literal["classifier", "regressor"]
    levels: Level
    cut: Level
    table: TableHeader | None = None


class ClassifierHeader(IntegerHeader):
    """What a file of an `IntegerClassifier` says."""

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, eq=False)
class IntegerModel(SavedModel):
    """From real features to integer margins."""

    grid: FeatureGrid
    networks: QuantizedNetwork  # with a leading axis over those that answer together
    oracle: str = field(default=MACHINE, kw_only=True)  # what trained them
    # names and kinds of the columns that the features are made of, where there is a table
    table: TableHeader | None = field(default=None, kw_only=True)

    HEADER: ClassVar[type[IntegerHeader]] = IntegerHeader
    KIND: ClassVar[Literal["classifier", "regressor"]]

    @property
    def n_networks(self) -> int:
        """Number of networks that answer together."""
        return len(self.networks.biases[0])

    @property
    def n_outputs(self) -> int:
        """Margins of each."""
        return self.networks.architecture.n_outputs

    @property
    def inputs(self) -> Grid:
        """What an input of the networks can be."""
        limit = self.grid.levels * self.grid.cut
        return Grid(-limit, limit, 1)

    def each_margin(self, X: ArrayLike) -> FloatArray:
        """Return the margins of each network, whole numbers; shape (networks, n, outputs)."""
        inputs = self.grid.transform(np.asarray(X, np.float64))
        margins = self.networks.margin(inputs).astype(np.float64)
        return margins.reshape(self.n_networks, len(inputs), self.n_outputs)

    def save_plain(self, path: str | os.PathLike[str]) -> None:
        """Write integers as arrays that any program reads: weights, biases and activations."""
        grid = self.grid
        found: dict[str, ArrayLike] = {"means": grid.means, "deviations": grid.deviations}
        found |= {"levels": grid.levels, "cut": grid.cut, **self._added()[0], **self._added()[1]}
        found["features"] = [] if self.table is None else self.table.features
        write_arrays(path, found | plain_layers(self.networks), lambda _: None, compressed=True)

    @abstractmethod
    def answers(self, X: ArrayLike) -> dict[str, Array]:
        """Return the outputs of the ONNX file by their names."""

    @abstractmethod
    def predict(self, X: ArrayLike) -> Array:
        """Return the answer to each sample."""

    @classmethod
    def _made(cls, header: IntegerHeader, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        if header.kind != cls.KIND:
            raise ModelFileError(f"the model is a {header.kind}, not a {cls.KIND}")
        if header.majority:
            raise ModelFileError("an integer model has a readout")
        inputs = (networks.architecture.n_inputs,)
        means, deviations = (
            checked_array(arrays, name, "f", inputs) for name in ("means", "deviations")
        )
        grid = FeatureGrid(means, deviations, header.levels, header.cut)
        _check_table(header, inputs[0])
        return replace(cls._of(grid, networks, header, arrays), table=header.table)

    @classmethod
    @abstractmethod
    def _of(
        cls, grid: FeatureGrid, networks: QuantizedNetwork, header: Any, arrays: Arrays
    ) -> Self:
        """Return the model, with the fields that its kind adds, of what a file holds."""

    def _content(self) -> tuple[IntegerHeader, QuantizedNetwork, Arrays]:
        grid = self.grid
        about, arrays = self._added()
        header = self.HEADER(
            kind=self.KIND,
            levels=grid.levels,
            cut=grid.cut,
            table=self.table,
            **layer_headers(self.networks),
            **about,
        )
        own = {"means": grid.means, "deviations": grid.deviations}
        return header, self.networks, own | arrays

    @abstractmethod
    def _added(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what a kind of model adds to the header, and to the arrays."""


@dataclass(frozen=True, eq=False)
class IntegerClassifier(IntegerModel):
    """From real features to labels, by integers.

    Parameters
    ----------
    grid : FeatureGrid
    networks : QuantizedNetwork
        With a leading axis over those that vote; their margins are added.
    classes : array, shape (n_classes,)
        Labels.
    scale : float
        Logits per unit of the added margins.
    """

    classes: Array
    scale: float

    HEADER = ClassifierHeader
    KIND = "classifier"

    def margins(self, X: ArrayLike) -> FloatArray:
        """Return the added margins, whole numbers; shape (n,), or (n, n_classes) for several."""
        added = self.each_margin(X).sum(axis=0)
        return added[:, 0] if self.n_outputs == 1 else added

    def predict(self, X: ArrayLike) -> Array:
        """Return the label of each sample; a margin of zero is the first of two classes."""
        return self.answers(X)["label"]

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probabilities that the training loss is of, (n, n_classes)."""
        logits = self.scale * self.margins(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        found = probabilities(logits).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def answers(self, X: ArrayLike) -> dict[str, Array]:
        """Return ``label`` and ``margin``."""
        margins = self.margins(X)
        one = margins.ndim == 1
        index = second_class(margins).astype(np.int64) if one else margins.argmax(axis=1)
        return {"label": self.classes[index], "margin": margins}

    def _added(self) -> tuple[dict[str, Any], dict[str, Array]]:
        classes = self.classes
        if classes.dtype.kind == "O" and all(isinstance(label, str) for label in classes):
            classes = classes.astype(np.str_)
        if classes.dtype.kind not in "biufU":
            raise ModelFileError(
                f"labels of type {classes.dtype} need pickle", hint="numbers or text"
            )
        return {"scale": self.scale}, {"classes": classes}

    @classmethod
    def _of(
        cls, grid: FeatureGrid, networks: QuantizedNetwork, header: ClassifierHeader, arrays: Arrays
    ) -> Self:
        n_classes = max(2, networks.architecture.n_outputs)
        classes = checked_array(arrays, "classes", "biufU", (n_classes,))
        return cls(grid, networks, classes, header.scale)


@dataclass(frozen=True, eq=False)
class IntegerRegressor(IntegerModel):
    r"""From real features to real answers; all that is not an integer comes last.

    .. math:: y = \sum_k s_k\, m_k(x) + c

    Parameters
    ----------
    grid : FeatureGrid
    networks : QuantizedNetwork
        With a leading axis over those that answer together.
    scales : float64 array, shape (networks, outputs)
        Of the margins of each.
    offsets : float64 array, shape (outputs,)
    """

    scales: FloatArray
    offsets: FloatArray

    KIND = "regressor"

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the answer to each sample; shape (n,), or (n, outputs) for several."""
        return self.answers(X)["prediction"]

    def answers(self, X: ArrayLike) -> dict[str, Array]:
        """Return ``prediction``, and ``margin`` (networks, n, outputs)."""
        margins = self.each_margin(X)
        found = (margins * self.scales[:, None]).sum(axis=0) + self.offsets
        prediction = found[:, 0] if self.n_outputs == 1 else found
        return {"prediction": prediction, "margin": margins}

    def _added(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {}, {"scales": self.scales, "offsets": self.offsets}

    @classmethod
    def _of(
        cls, grid: FeatureGrid, networks: QuantizedNetwork, header: IntegerHeader, arrays: Arrays
    ) -> Self:
        outputs = networks.architecture.n_outputs
        scales = checked_array(arrays, "scales", "f", (header.n_networks, outputs))
        offsets = checked_array(arrays, "offsets", "f", (outputs,))
        return cls(grid, networks, scales, offsets)


def _check_table(header: IntegerHeader, n_inputs: int) -> None:
    """Refuse columns that do not make the inputs of the network, or another task."""
    table = header.table
    if table is None:
        return
    if len(table.features) != n_inputs:
        raise ModelFileError(
            f"its columns make {counted(len(table.features), 'feature')}, not {n_inputs}"
        )
    if (table.task == "regression") != (header.kind == "regressor"):
        raise ModelFileError(f"the model is a {header.kind}, its table is one of {table.task}")


def load_integers(path: str | os.PathLike[str]) -> IntegerClassifier | IntegerRegressor:
    """Read a model of either kind.

    Raises
    ------
    ModelFileError
        Not such a file, or one whose parts do not fit together.
    """
    is_regressor = saved_kind(path) == IntegerRegressor.KIND
    return (IntegerRegressor if is_regressor else IntegerClassifier).load(path)
