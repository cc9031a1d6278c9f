"""Trained networks as integers: what predicts, and what is written to a file without pickle.

In a file ``weights_l`` and ``biases_l`` have a leading axis over the networks, ``means`` and
``deviations`` are those of the features, ``about`` is a JSON text with everything else, and a
model adds arrays of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from qnn_train.archive import read_arrays, reading
from qnn_train.data.grid import FeatureGrid
from qnn_train.errors import ModelFileError
from qnn_train.model.header import LayerAbout, architecture_of, layers_about
from qnn_train.model.layer_arrays import checked_array, layer_arrays, network_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network import QuantizedNetwork

__all__ = ["About", "IntegerModel"]

MAX_BYTES = 64 * 2**20
Level = Annotated[int, Field(ge=1, le=32_767)]


class About(BaseModel):
    """Everything in a file that is no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    layers: Annotated[tuple[LayerAbout, ...], Field(min_length=1, max_length=64)]
    levels: Level
    cut: Level
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


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

    FORMAT: ClassVar[str]

    @property
    def n_networks(self) -> int:
        """Number of networks that answer together."""
        return len(self.networks.biases[0])

    @property
    def n_outputs(self) -> int:
        """Margins of each."""
        return self.networks.architecture.n_outputs

    def each_margin(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the margins of each network, whole numbers; shape (networks, n, outputs)."""
        inputs = self.grid.transform(np.asarray(X, np.float64))
        margins = self.networks.margin(inputs).astype(np.float64)
        return margins.reshape(self.n_networks, len(inputs), self.n_outputs)

    @abstractmethod
    def answers(self, X: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return the outputs of the ONNX file by their names."""

    @abstractmethod
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the answer to each sample."""

    def save(self, path: Path) -> None:
        """Write the file.

        Raises
        ------
        ModelFileError
            Labels that are neither numbers nor text.
        """
        arrays: dict[str, Any] = self._arrays() | layer_arrays(self.networks)
        about = self._about().model_dump_json()
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                about=np.array(about),
                means=self.grid.means,
                deviations=self.grid.deviations,
                **arrays,
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        ModelFileError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = read_arrays(path, ModelFileError, max_bytes=MAX_BYTES)
        with reading(path, ModelFileError, f"holds no {cls.__name__}"):
            about = About.model_validate_json(str(arrays["about"]))
            if about.format != cls.FORMAT:
                raise ModelFileError(f"the format is {about.format!r}, not {cls.FORMAT!r}")
            architecture = architecture_of(about.layers)
            n_networks = len(np.atleast_1d(arrays["biases_0"]))
            if not n_networks:
                raise ModelFileError("the file holds no network")
            networks = network_of(architecture, arrays, (n_networks,))
            means, deviations = (
                checked_array(arrays, name, "f", (architecture.n_inputs,))
                for name in ("means", "deviations")
            )
            grid = FeatureGrid(means, deviations, about.levels, about.cut)
            return cls._made(grid, networks, about, arrays)

    def _about(self) -> About:
        return About(
            format=self.FORMAT,
            layers=layers_about(self.networks.architecture),
            levels=self.grid.levels,
            cut=self.grid.cut,
        )

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return what the model adds to the file."""

    @classmethod
    @abstractmethod
    def _made(
        cls,
        grid: FeatureGrid,
        networks: QuantizedNetwork,
        about: About,
        arrays: dict[str, NDArray[Any]],
    ) -> Self:
        """Make the model of what the file holds."""
