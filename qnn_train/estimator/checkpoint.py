"""The networks at the ends of sweeps: all that a training has found, and all it needs to go on.

A proximal descent depends on the bits at the end of the last sweep, the scale of the logits and
the calls already made. In the file, ``bits`` has a row for each sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.archive import read_arrays, reading, write_arrays
from qnn_train.errors import CheckpointError
from qnn_train.solve import ProximalState

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Checkpoint"]

MAX_BYTES = 256 * 2**20


@dataclass(eq=False)
class Checkpoint:
    """One entry for each sweep that was made.

    Parameters
    ----------
    digest : str
        Fingerprint of samples, settings and machine.
    bits : list of int8 array, each of shape (n_bits,)
    scales : list of float
        Logits per margin.
    calls : list of int
        Of the machine, up to there.
    """

    digest: str
    bits: list[NDArray[np.int8]] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.bits)

    def state(self, steps_a_sweep: int) -> ProximalState | None:
        """Return where the descent goes on, None at the beginning."""
        if not self.bits:
            return None
        last = self.bits[-1]
        return ProximalState(len(self) * steps_a_sweep, last, self.scales[-1], last, np.inf)

    def append(self, state: ProximalState, calls: int) -> None:
        """Add the end of a sweep."""
        self.bits.append(state.bits)
        self.scales.append(state.scale)
        self.calls.append(calls)

    def save(self, path: Path) -> None:
        """Write the file, all or nothing."""
        calls = np.array(self.calls, dtype=np.int64)
        columns = {"bits": self.bits, "scales": self.scales, "calls": calls}
        write_arrays(path, {"digest": self.digest, **columns})

    @classmethod
    def load(cls, path: Path, *, digest: str, n_bits: int) -> Self:
        """Read the file of the same training.

        Raises
        ------
        CheckpointError
            Not such a file, or one of another training.
        """
        arrays = read_arrays(path, CheckpointError, max_bytes=MAX_BYTES)
        with reading(path, CheckpointError, "is no checkpoint"):
            found, bits = str(arrays["digest"]), arrays["bits"]
            scales, calls = arrays["scales"], arrays["calls"]
        if found != digest:
            raise CheckpointError(
                f"{path} is of other samples, settings or another machine",
                hint="use another file; random_state must be an integer",
            )
        shapes = (bits.shape[1:], scales.shape, calls.shape)
        fits = shapes == ((n_bits,), (len(bits),), (len(bits),))
        if not fits or bits.dtype != np.int8 or not np.isin(bits, (0, 1)).all():
            raise CheckpointError(f"{path} holds bits of shape {bits.shape}, not (..., {n_bits})")
        if scales.dtype.kind != "f" or calls.dtype.kind != "i" or not np.isfinite(scales).all():
            raise CheckpointError(f"{path} holds no scales and calls")
        return cls(digest, list(bits), scales.tolist(), calls.tolist())
