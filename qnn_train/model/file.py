"""The file of trained networks, ``.npz``: plain arrays, no pickle.

``networks`` has a row of packed bits for each network, which decode to its weights and biases;
``header`` is a JSON text that says which kind of model it is, and describes the layers; each kind
adds arrays of its own. Whatever can be saved can be loaded: `SavedModel.save` reads the new file
before it replaces the old one.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qnn_train.archive import checked_bits, read_arrays, reading, write_arrays
from qnn_train.arrays import Array, Arrays
from qnn_train.errors import ModelFileError, TrainingError
from qnn_train.method_names import MACHINE
from qnn_train.network import (
    Architecture,
    Layer,
    QuantizedNetwork,
    Spline,
    parameter_code,
    weight_code,
)

__all__ = [
    "FROZEN",
    "KINDS",
    "MAX_BITS",
    "MAX_BYTES",
    "ModelHeader",
    "Name",
    "SavedModel",
    "Size",
    "layer_headers",
    "plain_layers",
    "saved_kind",
]

FORMAT = "cim-hal/qnn-model/1"  # pydantic wants it spelled out below
FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
MAX_BYTES = 64 * 2**20
MAX_BITS = 2**25  # of all networks together; decoding takes 8 bytes for each
MAX_NETWORKS = 65_536

KINDS = {
    "classifier": "a classifier of tables (IntegerClassifier)",
    "regressor": "a regressor of tables (IntegerRegressor)",
    "images": "a network for images (TrainedModel)",
}
Header = TypeVar("Header", bound=BaseModel)

Name = Annotated[str, Field(max_length=256)]
Size = Annotated[int, Field(ge=1, le=4096)]
Number = Annotated[int, Field(ge=-(2**31), le=2**31)]


class SplineHeader(BaseModel):
    """An activation, see `Spline`."""

    model_config = FROZEN

    name: Name
    knots: Annotated[tuple[Number, ...], Field(max_length=4096)]
    intercepts: Annotated[tuple[Number, ...], Field(max_length=4097)]
    slopes: Annotated[tuple[Number, ...], Field(max_length=4097)]


class LayerHeader(BaseModel):
    """A layer: sizes, names of its codes, and the activation of a hidden layer."""

    model_config = FROZEN

    inputs: Size
    outputs: Size
    weights: Name
    biases: Name
    activation: SplineHeader | None

    @classmethod
    def of(cls, layer: Layer, *, hidden: bool) -> Self:
        """Describe `layer`."""
        return cls(
            inputs=layer.inputs,
            outputs=layer.outputs,
            weights=layer.weights.name,
            biases=layer.biases.name,
            activation=SplineHeader(**asdict(layer.activation)) if hidden else None,
        )

    def layer(self) -> Layer:
        """Return the layer that this describes."""
        codes = weight_code(self.weights), parameter_code(self.biases)
        if self.activation is None:
            return Layer(self.inputs, self.outputs, *codes)
        return Layer(self.inputs, self.outputs, *codes, Spline(**self.activation.model_dump()))


class ModelHeader(BaseModel):
    """What the headers of all kinds of models have in common."""

    model_config = FROZEN

    format: Literal["cim-hal/qnn-model/1"] = FORMAT
    layers: Annotated[tuple[LayerHeader, ...], Field(min_length=1, max_length=64)]
    majority: bool  # whether the last of the layers votes; otherwise it is a readout
    n_networks: Annotated[int, Field(ge=1, le=MAX_NETWORKS)]  # networks in the file
    oracle: Name = MACHINE  # what trained them, see `ORACLES`

    def architecture(self) -> Architecture:
        """Return the architecture that the layers describe.

        Raises
        ------
        ModelFileError
            A hidden layer without activation, a readout with one, or more bits than `MAX_BITS`.
        AssemblyError
            Layers that make no network.
        """
        n_hidden = len(self.layers) - (not self.majority)
        if any((part.activation is None) != (i >= n_hidden) for i, part in enumerate(self.layers)):
            raise ModelFileError("every hidden layer has an activation, and a readout none")
        made = tuple(part.layer() for part in self.layers)
        architecture = Architecture(made[:n_hidden], None if self.majority else made[-1])
        if self.n_networks * architecture.n_bits > MAX_BITS:
            raise ModelFileError(f"the networks have more than {MAX_BITS} bits")
        return architecture


def header_of(text: str, kind: type[Header]) -> Header:
    """Return the header of a file; one of another kind of model is named as what it is."""
    found, known = _kind_of(text), get_args(kind.model_fields["kind"].annotation)
    if found in KINDS and found not in known:
        raise ModelFileError(f"it is {KINDS[found]}")
    return kind.model_validate_json(text)


def saved_kind(path: str | os.PathLike[str]) -> str:
    """Return the kind of model in a file, empty if its header names none; or `ModelFileError`."""
    arrays = read_arrays(path, ModelFileError, max_bytes=MAX_BYTES)
    with reading(path, ModelFileError, "holds no such model"):
        return _kind_of(str(arrays["header"]))


def _kind_of(text: str) -> str:
    """Return the kind of model that a header names, whatever else is in it; empty if none."""
    found = json.loads(text)
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def layer_headers(networks: QuantizedNetwork) -> dict[str, Any]:
    """Return what a header says of networks: one, or several with a leading axis."""
    architecture = networks.architecture
    n_hidden = len(architecture.hidden)
    layers = tuple(
        LayerHeader.of(layer, hidden=index < n_hidden)
        for index, layer in enumerate(architecture.layers)
    )
    lead = networks.biases[0].shape[:-1]
    return {
        "layers": layers,
        "majority": architecture.readout is None,
        "n_networks": lead[0] if lead else 1,
    }


def plain_layers(networks: QuantizedNetwork) -> dict[str, Array]:
    """Return weights, biases and activations by names that end in the number of the layer."""
    found: dict[str, Array] = {}
    for index, (weights, biases) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        found |= {f"weights{index}": weights, f"biases{index}": biases}
    for index, layer in enumerate(networks.architecture.hidden):
        for name in ("knots", "intercepts", "slopes"):
            found[f"{name}{index}"] = np.array(getattr(layer.activation, name), np.int64)
    return found


class SavedModel(ABC):
    """A trained model that can be written to a file and read from it."""

    HEADER: ClassVar[Any]  # the `ModelHeader` of its kind
    oracle: str  # what trained it, a key of `qnn_train.method_names.ORACLES`

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to exactly `path`, whole or not at all.

        Raises
        ------
        ModelFileError
            Labels that are neither numbers nor text, or a model that `load` would refuse. The file
            that was at `path` stays as it was.
        """
        try:
            header, networks, arrays = self._content()
            header = header.model_copy(update={"oracle": self.oracle})
            bits = networks.to_bits()
            packed = np.packbits(bits.reshape(-1, bits.shape[-1]), axis=1)
            whole = {"header": header.model_dump_json(), "networks": packed, **arrays}
            write_arrays(path, whole, type(self).load, compressed=True)
        except ValidationError as error:
            raise ModelFileError(f"the model cannot be saved: {error}") from None
        except TrainingError as error:
            raise ModelFileError(f"the model cannot be saved: {error.message}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model of this class.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = read_arrays(path, ModelFileError, max_bytes=MAX_BYTES)
        with reading(path, ModelFileError, "holds no such model", arrays):
            header = header_of(str(arrays["header"]), cls.HEADER)
            architecture = header.architecture()
            bits = checked_bits(arrays, "networks", header.n_networks, architecture.n_bits)
            made: Any = cls._made(header, QuantizedNetwork.from_bits(architecture, bits), arrays)
            return replace(made, oracle=header.oracle)

    @abstractmethod
    def _content(self) -> tuple[ModelHeader, QuantizedNetwork, Arrays]:
        """Return header, networks, and what this kind of model adds to the file."""

    @classmethod
    @abstractmethod
    def _made(cls, header: Any, networks: QuantizedNetwork, arrays: Arrays) -> Self:
        """Make the model of its header, its networks with a leading axis, and all arrays."""
