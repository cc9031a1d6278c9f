"""Trained networks as integers, for real answers: each has a scale, and the sum an offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from qnn_train.model.integer_model import About, IntegerModel
from qnn_train.model.layer_arrays import checked_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.data.grid import FeatureGrid
    from qnn_train.network import QuantizedNetwork

__all__ = ["IntegerRegressor"]


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

    scales: NDArray[np.float64]
    offsets: NDArray[np.float64]

    FORMAT: ClassVar[str] = "cim-hal/integer-regressor/1"

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the answer to each sample; shape (n,), or (n, outputs) for several."""
        return self.answers(X)["prediction"]

    def answers(self, X: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return ``prediction``, and ``margin`` (networks, n, outputs)."""
        margins = self.each_margin(X)
        found = (margins * self.scales[:, None]).sum(axis=0) + self.offsets
        prediction = found[:, 0] if self.n_outputs == 1 else found
        return {"prediction": prediction, "margin": margins}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"scales": self.scales, "offsets": self.offsets}

    @classmethod
    def _made(
        cls,
        grid: FeatureGrid,
        networks: QuantizedNetwork,
        about: About,  # noqa: ARG003  nothing there is its own
        arrays: dict[str, NDArray[Any]],
    ) -> Self:
        n_outputs = networks.architecture.n_outputs
        scales = checked_array(arrays, "scales", "f", (len(networks.biases[0]), n_outputs))
        return cls(grid, networks, scales, checked_array(arrays, "offsets", "f", (n_outputs,)))
