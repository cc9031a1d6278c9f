"""What is to be learned, before it is a program: whole, or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import AssemblyError
from qnn_train.program.assemble import Assembly, assemble, check_samples
from qnn_train.program.qcbo import Parts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network import Architecture
    from qnn_train.program.builder import Reduction
    from qnn_train.program.loss import Loss
    from qnn_train.program.qcbo import Qcbo

__all__ = ["Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """A network, samples and a loss; programs are made of it when they are asked for.

    Parameters
    ----------
    architecture, inputs, labels, loss, margin_reward, reduction
        See `assemble`.
    """

    architecture: Architecture
    inputs: ArrayLike
    labels: ArrayLike
    loss: Loss
    margin_reward: float = 0.0
    reduction: Reduction = "rosenberg"

    @cached_property
    def assembly(self) -> Assembly:
        """All samples in one program.

        Raises
        ------
        AssemblyError
            See `assemble`.
        """
        return self._assembled(slice(None))

    @property
    def qcbo(self) -> Qcbo:
        """The program of all samples."""
        return self.assembly.qcbo

    def parts(self, batch: int = 1) -> Parts:
        """Return a program for every `batch` samples, whose parameter bits are shared.

        Samples are dealt out so that each part has its share of every label.

        Raises
        ------
        AssemblyError
            A batch of no sample; see `assemble`.
        """
        programs = [self._assembled(chosen).qcbo for chosen in self._dealt(batch)]
        return Parts(self.architecture.n_bits, tuple(programs))

    def largest_part(self, batch: int | None) -> Assembly:
        """Return the first part, none being larger; the whole where `batch` is None."""
        return self.assembly if batch is None else self._assembled(self._dealt(batch)[0])

    def _dealt(self, batch: int) -> list[NDArray[np.int64]]:
        """Return the samples of each part, every label dealt out in turn."""
        if batch < 1:
            raise AssemblyError(f"parts of {batch} samples", hint="at least 1")
        _, signs = check_samples(self.architecture, self.inputs, self.labels)
        order = np.lexsort(signs.T[::-1])
        count = -(-len(signs) // batch)
        return [np.sort(order[part::count]) for part in range(count)]

    def _assembled(self, chosen: slice | NDArray[np.int64]) -> Assembly:
        return assemble(
            self.architecture,
            np.asarray(self.inputs)[chosen],
            np.asarray(self.labels)[chosen],
            loss=self.loss,
            margin_reward=self.margin_reward,
            reduction=self.reduction,
        )
