"""A trained network in one file, ``model.npz``: plain arrays, no pickle.

``weights_l`` and ``biases_l`` are the integers of trained layer l, ``thresholds`` those of the
features, and ``about`` is a JSON text with everything else.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qnn_train.data import PooledSign
from qnn_train.errors import ModelFileError, TrainingError
from qnn_train.network import Architecture, Layer, QuantizedNetwork, bias_code, weight_code

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["TrainedModel"]

FORMAT = "cim-hal/qnn-model/1"
MAX_BYTES = 16 * 2**20


class _LayerAbout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Annotated[int, Field(ge=1, le=4096)]
    outputs: Annotated[int, Field(ge=1, le=4096)]
    weights: str
    bias_bits: int


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    dataset: str
    classes: tuple[int, int]
    class_names: tuple[str, str]
    side: Annotated[int, Field(ge=1, le=4096)]
    layers: Annotated[list[_LayerAbout], Field(min_length=1, max_length=64)]
    majority: bool


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """From images to classes.

    Parameters
    ----------
    dataset : str
    classes : tuple of int
        Labels predicted for a negative and for a non-negative margin.
    class_names : tuple of str
    features : PooledSign
    network : QuantizedNetwork
    """

    dataset: str
    classes: tuple[int, int]
    class_names: tuple[str, str]
    features: PooledSign
    network: QuantizedNetwork

    def predict(self, images: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each image (n, side, side); int64, shape (n,)."""
        says_second = self.network.predict(self.features.transform(images)) > 0
        return np.where(says_second, self.classes[1], self.classes[0])

    def save(self, path: Path) -> None:
        """Write the model to `path`."""
        arrays: dict[str, Any] = {"thresholds": self.features.thresholds}
        for index, weights in enumerate(self.network.weights):
            arrays[f"weights_{index}"] = weights
            arrays[f"biases_{index}"] = self.network.biases[index]
        np.savez_compressed(path, about=np.array(self._about().model_dump_json()), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = _read_arrays(path)
        try:
            about = _About.model_validate(json.loads(str(arrays["about"])))
            if about.format != FORMAT:
                raise ModelFileError(f"{path} has the format {about.format!r}, not {FORMAT!r}")
            features = PooledSign(about.side, _array(arrays, "thresholds", "f", None))
            network = _network(about, arrays)
        except KeyError as error:
            raise ModelFileError(f"{path} has no entry {error}") from None
        except (ValidationError, json.JSONDecodeError) as error:
            raise ModelFileError(f"{path} is no trained network: {error}") from None
        except TrainingError as error:
            raise ModelFileError(f"{path} is no trained network: {error.message}") from None
        if len(features.thresholds) != network.architecture.n_inputs or (
            features.grid**2 != len(features.thresholds) or about.side % features.grid
        ):
            raise ModelFileError(f"{path}: features and network do not fit together")
        return cls(about.dataset, about.classes, about.class_names, features, network)

    def _about(self) -> _About:
        architecture = self.network.architecture
        layers = [
            _LayerAbout(
                inputs=layer.inputs,
                outputs=layer.outputs,
                weights=layer.weights.name,
                bias_bits=layer.biases.bits,
            )
            for layer in architecture.layers
        ]
        return _About(
            format=FORMAT,
            dataset=self.dataset,
            classes=self.classes,
            class_names=self.class_names,
            side=self.features.side,
            layers=layers,
            majority=architecture.readout is None,
        )


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ModelFileError(f"{path} unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"cannot read {path}: {error}") from None


def _network(about: _About, arrays: dict[str, NDArray[Any]]) -> QuantizedNetwork:
    layers = tuple(
        Layer(part.inputs, part.outputs, weight_code(part.weights), bias_code(part.bias_bits))
        for part in about.layers
    )
    hidden, readout = (layers, None) if about.majority else (layers[:-1], layers[-1])
    weights, biases = [], []
    for index, layer in enumerate(layers):
        shape = (layer.outputs, layer.inputs)
        weights.append(_array(arrays, f"weights_{index}", "i", shape))
        biases.append(_array(arrays, f"biases_{index}", "i", (layer.outputs,)))
    network = QuantizedNetwork(Architecture(hidden, readout), tuple(weights), tuple(biases))
    network.to_bits()  # refuses values that the codes do not have
    return network


def _array(
    arrays: dict[str, NDArray[Any]], name: str, kind: str, shape: tuple[int, ...] | None
) -> NDArray[Any]:
    array = arrays[name]
    wrong_shape = array.ndim != 1 if shape is None else array.shape != shape
    if array.dtype.kind != kind or wrong_shape or not np.isfinite(array).all():
        raise ModelFileError(f"{name} has shape {array.shape} and type {array.dtype}")
    return array
