"""A trained classifier as integers: what predicts, and what is written to a file without pickle.

One network, or several whose integer margins are added. In the file ``weights_l`` and ``biases_l``
have a leading axis over the networks, ``means`` and ``deviations`` are those of the features,
``classes`` the labels, and ``about`` a JSON text with everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qnn_train.archive import read_arrays
from qnn_train.data.grid import FeatureGrid
from qnn_train.errors import ModelFileError, TrainingError
from qnn_train.model_about import LayerAbout
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.solve.cross_entropy import probabilities

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["IntegerClassifier"]

FORMAT = "cim-hal/integer-classifier/1"
MAX_BYTES = 64 * 2**20
Level = Annotated[int, Field(ge=1, le=32_767)]


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    layers: Annotated[tuple[LayerAbout, ...], Field(min_length=1, max_length=64)]
    levels: Level
    cut: Level
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, eq=False)
class IntegerClassifier:
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

    grid: FeatureGrid
    networks: QuantizedNetwork
    classes: NDArray[Any]
    scale: float

    @property
    def n_networks(self) -> int:
        """Number of networks that vote."""
        return len(self.networks.biases[0])

    def margins(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the added margins, whole numbers; shape (n,), or (n, n_classes) for several."""
        inputs = self.grid.transform(np.asarray(X, np.float64))
        return self.networks.margin(inputs).astype(np.float64).sum(axis=0)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the label of each sample; a margin of zero is the second of two classes."""
        return self.classes[self.indices(X)]

    def indices(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the place of the label of each sample among the classes."""
        margins = self.margins(X)
        if margins.ndim == 1:
            return (margins >= 0).astype(np.int64)
        return margins.argmax(axis=1)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities that the training loss is of, (n, n_classes)."""
        logits = self.scale * self.margins(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        found = probabilities(logits).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def save(self, path: Path) -> None:
        """Write the file.

        Raises
        ------
        ModelFileError
            Labels that are neither numbers nor text.
        """
        classes = self.classes
        if classes.dtype.kind == "O" and all(isinstance(label, str) for label in classes):
            classes = classes.astype(np.str_)
        if classes.dtype.kind not in "biufU":
            raise ModelFileError(
                f"labels of type {classes.dtype} need pickle", hint="numbers or text"
            )
        arrays: dict[str, Any] = {"means": self.grid.means, "deviations": self.grid.deviations}
        for index, weights in enumerate(self.networks.weights):
            arrays[f"weights_{index}"] = weights
            arrays[f"biases_{index}"] = self.networks.biases[index]
        about = self._about().model_dump_json()
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(about), classes=classes, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = read_arrays(path, ModelFileError, max_bytes=MAX_BYTES)
        try:
            about = _About.model_validate_json(str(arrays["about"]))
            if about.format != FORMAT:
                raise ModelFileError(f"the format is {about.format!r}, not {FORMAT!r}")
            architecture = _architecture(about.layers)
            networks = _networks(architecture, arrays)
            means, deviations = (
                _checked(arrays, name, "f", (architecture.n_inputs,))
                for name in ("means", "deviations")
            )
            grid = FeatureGrid(means, deviations, about.levels, about.cut)
            classes = _checked(arrays, "classes", "biufU", (max(2, architecture.n_outputs),))
        except KeyError as error:
            raise ModelFileError(f"{path} has no entry {error}") from None
        except ValidationError as error:
            raise ModelFileError(f"{path} holds no integer classifier: {error}") from None
        except TrainingError as error:
            raise ModelFileError(f"{path} holds no integer classifier: {error.message}") from None
        return cls(grid, networks, classes, about.scale)

    def _about(self) -> _About:
        architecture = self.networks.architecture
        n_hidden = len(architecture.hidden)
        return _About(
            format=FORMAT,
            layers=tuple(
                LayerAbout.of(layer, hidden=index < n_hidden)
                for index, layer in enumerate(architecture.layers)
            ),
            levels=self.grid.levels,
            cut=self.grid.cut,
            scale=self.scale,
        )


def _architecture(layers: tuple[LayerAbout, ...]) -> Architecture:
    if any((part.activation is None) != (part is layers[-1]) for part in layers):
        raise ModelFileError("every hidden layer has an activation, and the last none")
    made = [part.layer() for part in layers]
    return Architecture(tuple(made[:-1]), made[-1])


def _networks(architecture: Architecture, arrays: dict[str, NDArray[Any]]) -> QuantizedNetwork:
    n = len(np.atleast_1d(arrays["biases_0"]))
    if not n:
        raise ModelFileError("the file holds no network")
    weights, biases = [], []
    for index, layer in enumerate(architecture.layers):
        shape = (n, layer.outputs, layer.inputs)
        weights.append(_checked(arrays, f"weights_{index}", "i", shape))
        biases.append(_checked(arrays, f"biases_{index}", "i", (n, layer.outputs)))
    networks = QuantizedNetwork(architecture, tuple(weights), tuple(biases))
    networks.to_bits()  # refuses values that the codes do not have
    return networks


def _checked(
    arrays: dict[str, NDArray[Any]], name: str, kinds: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    array = arrays[name]
    known = array.dtype.kind in kinds and array.shape == shape
    if not known or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ModelFileError(f"{name} has shape {array.shape} and type {array.dtype}, not {shape}")
    return array
