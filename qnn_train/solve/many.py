"""Several minimizations that do not wait for one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qnn_train.solve.oracle import Answer, Oracle

__all__ = ["ManyOracle", "minimize_all"]


@runtime_checkable
class ManyOracle(Protocol):
    """An oracle that takes independent problems together: several machines, or one large task."""

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        """Answer for one gradient."""
        ...

    def minimize_all(self, gradients: Sequence[NDArray[np.float64]]) -> list[Answer]:
        """Answer for each gradient, in their order."""
        ...


def minimize_all(oracle: Oracle, gradients: Sequence[NDArray[np.float64]]) -> list[Answer]:
    """Answer for each gradient: together where the oracle can, else one after the other."""
    if isinstance(oracle, ManyOracle):
        return oracle.minimize_all(gradients)
    return [oracle.minimize(gradient) for gradient in gradients]
