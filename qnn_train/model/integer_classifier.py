"""Trained networks as integers, for labels: their margins are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from qnn_train.errors import ModelFileError
from qnn_train.model.integer_model import About, IntegerModel
from qnn_train.model.layer_arrays import checked_array
from qnn_train.solve.cross_entropy import probabilities

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.data.grid import FeatureGrid
    from qnn_train.network import QuantizedNetwork

__all__ = ["IntegerClassifier"]


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

    classes: NDArray[Any]
    scale: float

    FORMAT: ClassVar[str] = "cim-hal/integer-classifier/1"

    def margins(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the added margins, whole numbers; shape (n,), or (n, n_classes) for several."""
        added = self.each_margin(X).sum(axis=0)
        return added[:, 0] if self.n_outputs == 1 else added

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the label of each sample; a margin of zero is the first of two classes."""
        return self.classes[_indices(self.margins(X))]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities that the training loss is of, (n, n_classes)."""
        logits = self.scale * self.margins(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        found = probabilities(logits).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def answers(self, X: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return ``label`` and ``margin``."""
        margins = self.margins(X)
        return {"label": self.classes[_indices(margins)], "margin": margins}

    def _about(self) -> About:
        return super()._about().model_copy(update={"scale": self.scale})

    def _arrays(self) -> dict[str, NDArray[Any]]:
        classes = self.classes
        if classes.dtype.kind == "O" and all(isinstance(label, str) for label in classes):
            classes = classes.astype(np.str_)
        if classes.dtype.kind not in "biufU":
            raise ModelFileError(
                f"labels of type {classes.dtype} need pickle", hint="numbers or text"
            )
        return {"classes": classes}

    @classmethod
    def _made(
        cls,
        grid: FeatureGrid,
        networks: QuantizedNetwork,
        about: About,
        arrays: dict[str, NDArray[Any]],
    ) -> Self:
        n_classes = max(2, networks.architecture.n_outputs)
        classes = checked_array(arrays, "classes", "biufU", (n_classes,))
        if about.scale is None:
            raise ModelFileError("the file has no scale of the logits")
        return cls(grid, networks, classes, about.scale)


def _indices(margins: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of the label of each sample among the classes."""
    return (margins > 0).astype(np.int64) if margins.ndim == 1 else margins.argmax(axis=1)
