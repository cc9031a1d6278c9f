"""What a model file says about itself in words: the JSON text ``about``, of every version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from qnn_train.errors import ModelFileError
from qnn_train.network import (
    Architecture,
    Layer,
    Spline,
    bias_code,
    parameter_code,
    weight_code,
)

__all__ = [
    "FeaturesAbout",
    "LayerAbout",
    "ModelAbout",
    "SplineAbout",
    "architecture_of",
    "layers_about",
]

FORMAT = "cim-hal/qnn-model/3"
FORMAT_2 = "cim-hal/qnn-model/2"
FORMAT_1 = "cim-hal/qnn-model/1"
FROZEN = ConfigDict(frozen=True, extra="forbid")

Name = Annotated[str, Field(max_length=256)]
Size = Annotated[int, Field(ge=1, le=4096)]
Number = Annotated[int, Field(ge=-(2**31), le=2**31)]


class SplineAbout(BaseModel):
    """An activation, see `Spline`."""

    model_config = FROZEN

    name: Name
    knots: Annotated[tuple[Number, ...], Field(max_length=4096)]
    intercepts: Annotated[tuple[Number, ...], Field(max_length=4097)]
    slopes: Annotated[tuple[Number, ...], Field(max_length=4097)]

    @classmethod
    def of(cls, spline: Spline) -> Self:
        """Say what `spline` is."""
        return cls.model_validate(asdict(spline))


class LayerAbout(BaseModel):
    """A layer: sizes, names of its codes, and its activation where it is hidden."""

    model_config = FROZEN

    inputs: Size
    outputs: Size
    weights: Name
    biases: Name
    activation: SplineAbout | None

    @classmethod
    def of(cls, layer: Layer, *, hidden: bool) -> Self:
        """Say what `layer` is."""
        return cls(
            inputs=layer.inputs,
            outputs=layer.outputs,
            weights=layer.weights.name,
            biases=layer.biases.name,
            activation=SplineAbout.of(layer.activation) if hidden else None,
        )

    def layer(self) -> Layer:
        """Make the layer."""
        codes = weight_code(self.weights), parameter_code(self.biases)
        if self.activation is None:
            return Layer(self.inputs, self.outputs, *codes)
        return Layer(self.inputs, self.outputs, *codes, Spline(**self.activation.model_dump()))


def layers_about(architecture: Architecture) -> tuple[LayerAbout, ...]:
    """Say what the trained layers are."""
    n_hidden = len(architecture.hidden)
    return tuple(
        LayerAbout.of(layer, hidden=index < n_hidden)
        for index, layer in enumerate(architecture.layers)
    )


def architecture_of(layers: tuple[LayerAbout, ...], *, majority: bool = False) -> Architecture:
    """Make the architecture.

    Parameters
    ----------
    majority : bool
        Whether the last of the layers votes; it is a readout otherwise.

    Raises
    ------
    ModelFileError
        A hidden layer without activation, or a readout with one.
    AssemblyError
        Parts that make no network.
    """
    n_hidden = len(layers) - (not majority)
    if any((part.activation is None) != (i >= n_hidden) for i, part in enumerate(layers)):
        raise ModelFileError("every hidden layer has an activation, and a readout none")
    made = tuple(part.layer() for part in layers)
    return Architecture(made[:n_hidden], None if majority else made[-1])


class FeaturesAbout(BaseModel):
    """Features: signs at thresholds, or levels of a deviation; see `PooledSign`, `PooledLevels`."""

    model_config = FROZEN

    kind: Literal["sign", "levels"] = "sign"
    levels: Annotated[int, Field(ge=1, le=4096)] = 1
    cut: Annotated[int, Field(ge=1, le=4096)] = 1


class ModelAbout(BaseModel):
    """Everything in a model file that is no array."""

    model_config = FROZEN

    format: str
    dataset: str
    classes: Annotated[tuple[int, ...], Field(min_length=2, max_length=4096)]
    class_names: tuple[str, ...]
    side: Size
    layers: Annotated[tuple[LayerAbout, ...], Field(min_length=1, max_length=64)]
    majority: bool
    features: FeaturesAbout = FeaturesAbout()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of any version.

        Raises
        ------
        ModelFileError
            Another format.
        pydantic.ValidationError, json.JSONDecodeError
            Not such a text.
        """
        raw = json.loads(text)
        if isinstance(raw, dict) and raw.get("format") == FORMAT_1:
            raw = _About1.model_validate(raw).in_version_2()
        if isinstance(raw, dict) and raw.get("format") == FORMAT_2 and "features" not in raw:
            raw = raw | {"format": FORMAT}  # it knows only signs
        about = cls.model_validate(raw)
        if about.format != FORMAT:
            raise ModelFileError(f"the format is {about.format!r}, not {FORMAT!r}")
        return about


class _LayerAbout1(BaseModel):
    model_config = FROZEN

    inputs: int
    outputs: int
    weights: str
    bias_bits: int


class _About1(BaseModel):
    """Version 1, which knows only the sign and two classes."""

    model_config = FROZEN

    format: str
    dataset: str
    classes: tuple[int, int]
    class_names: tuple[str, str]
    side: int
    layers: list[_LayerAbout1]
    majority: bool

    def in_version_2(self) -> dict[str, object]:
        sign, n_hidden = SplineAbout.of(Spline.sign()), len(self.layers) - (not self.majority)
        layers = [
            {
                "inputs": part.inputs,
                "outputs": part.outputs,
                "weights": part.weights,
                "biases": bias_code(part.bias_bits).name,
                "activation": sign if index < n_hidden else None,
            }
            for index, part in enumerate(self.layers)
        ]
        return self.model_dump() | {"format": FORMAT_2, "layers": layers}
