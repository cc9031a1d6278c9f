"""Trained networks as integers, for tables: what predicts, and what is written to a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from qnn_train.archive import checked_array
from qnn_train.data.features import FeatureGrid
from qnn_train.errors import ModelFileError
from qnn_train.model.file import ModelHeader, layer_headers, read_model, write_model
from qnn_train.network.network import second_class
from qnn_train.solve.losses import probabilities

if TYPE_CHECKING:
    import os

    from qnn_train.arrays import Array, ArrayLike, Arrays, FloatArray
    from qnn_train.network import QuantizedNetwork

__all__ = ["IntegerClassifier", "IntegerModel", "IntegerRegressor"]

Level = Annotated[int, Field(ge=1, le=32_767)]


class IntegerHeader(ModelHeader):
    """What a file of an `IntegerModel` says beside its networks."""

    kind: Literal["classifier", "regressor"]
    levels: Level
    cut: Level


class ClassifierHeader(IntegerHeader):
    """What a file of an `IntegerClassifier` says."""

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, eq=False)
class IntegerModel(ABC):
    """From real features to integer margins.

    Parameters
    ----------
    grid : FeatureGrid
    networks : QuantizedNetwork
        With a leading axis over those that answer together.
    """

    grid: FeatureGrid
    networks: QuantizedNetwork

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

    def each_margin(self, X: ArrayLike) -> FloatArray:
        """Return the margins of each network, whole numbers; shape (networks, n, outputs)."""
        inputs = self.grid.transform(np.asarray(X, np.float64))
        margins = self.networks.margin(inputs).astype(np.float64)
        return margins.reshape(self.n_networks, len(inputs), self.n_outputs)

    @abstractmethod
    def answers(self, X: ArrayLike) -> dict[str, Array]:
        """Return the outputs of the ONNX file by their names."""

    @abstractmethod
    def predict(self, X: ArrayLike) -> Array:
        """Return the answer to each sample."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to exactly `path`, whole or not at all.

        Raises
        ------
        ModelFileError
            Labels that are neither numbers nor text, or a model that `load` would refuse.
        """
        write_model(path, self._header, self.networks, self._arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model of this class.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        return read_model(path, cls.HEADER, cls._of_kind)

    @classmethod
    def _of_kind(cls, header: IntegerHeader, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        if header.kind != cls.KIND:
            raise ModelFileError(f"the model is a {header.kind}, not a {cls.KIND}")
        return cls._made(header, networks, arrays)

    @abstractmethod
    def _header(self) -> IntegerHeader:
        """Return what the file says beside its arrays."""

    def _arrays(self) -> dict[str, Array]:
        """Return the arrays of the file beside the networks."""
        return {"means": self.grid.means, "deviations": self.grid.deviations}

    @classmethod
    @abstractmethod
    def _made(cls, header: Any, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        """Make the model of what a file holds."""


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

    def _header(self) -> ClassifierHeader:
        return ClassifierHeader(
            kind=self.KIND,
            levels=self.grid.levels,
            cut=self.grid.cut,
            scale=self.scale,
            **layer_headers(self.networks),
        )

    def _arrays(self) -> dict[str, Array]:
        classes = self.classes
        if classes.dtype.kind == "O" and all(isinstance(label, str) for label in classes):
            classes = classes.astype(np.str_)
        if classes.dtype.kind not in "biufU":
            raise ModelFileError(
                f"labels of type {classes.dtype} need pickle", hint="numbers or text"
            )
        return super()._arrays() | {"classes": classes}

    @classmethod
    def _made(cls, header: ClassifierHeader, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        n_classes = max(2, networks.architecture.n_outputs)
        classes = checked_array(arrays, "classes", "biufU", (n_classes,))
        return cls(_grid(header, networks, arrays), networks, classes, header.scale)


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

    def _header(self) -> IntegerHeader:
        return IntegerHeader(
            kind=self.KIND,
            levels=self.grid.levels,
            cut=self.grid.cut,
            **layer_headers(self.networks),
        )

    def _arrays(self) -> dict[str, Array]:
        return super()._arrays() | {"scales": self.scales, "offsets": self.offsets}

    @classmethod
    def _made(cls, header: IntegerHeader, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        n_outputs = networks.architecture.n_outputs
        scales = checked_array(arrays, "scales", "f", (header.n_networks, n_outputs))
        offsets = checked_array(arrays, "offsets", "f", (n_outputs,))
        return cls(_grid(header, networks, arrays), networks, scales, offsets)


def _grid(header: IntegerHeader, networks: QuantizedNetwork, arrays: Arrays) -> FeatureGrid:
    """Return the grid that a file describes; its header tells what network reads it."""
    if header.majority:
        raise ModelFileError("an integer model has a readout")
    inputs = (networks.architecture.n_inputs,)
    means, deviations = (
        checked_array(arrays, name, "f", inputs) for name in ("means", "deviations")
    )
    return FeatureGrid(means, deviations, header.levels, header.cut)
