"""A training that can go on after its process was killed: one file, plain arrays, no pickle.

``bits`` and ``best`` are networks; ``about`` is a JSON text with everything else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from qnn_train.archive import read_arrays, reading, write_arrays
from qnn_train.errors import CheckpointError
from qnn_train.solve import ProximalState
from qnn_train.training.proximal_recipe import ProximalRecipe
from qnn_train.training.proximal_report import Curve

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Checkpoint"]

FORMAT = "cim-hal/qnn-checkpoint/1"
MAX_BYTES = 64 * 2**20
Count = Annotated[int, Field(ge=0)]
Column = Annotated[tuple[float, ...], Field(max_length=1_000_000)]


class _CurveAbout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: Annotated[tuple[Count, ...], Field(max_length=1_000_000)]
    loss: Column
    train_accuracy: Column
    validation_accuracy: Annotated[tuple[float | None, ...], Field(max_length=1_000_000)]


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    dataset: Annotated[str, Field(max_length=256)]
    classes: Annotated[tuple[int, ...], Field(min_length=2, max_length=4096)]
    recipe: ProximalRecipe
    digest: Annotated[str, Field(max_length=64)]
    device: Annotated[str, Field(max_length=256)]
    coupling_bits: Annotated[int, Field(ge=2, le=16)] | None
    block_spins: Annotated[int, Field(ge=1)]
    stage: Count
    step: Count
    scale: float
    best_loss: float | None
    best_step: Count
    calls: Count
    seconds: Annotated[float, Field(ge=0)]
    curve: _CurveAbout


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a training needs to go on as if it had not been stopped.

    Attributes
    ----------
    dataset, classes
        What is told apart.
    recipe : ProximalRecipe
    digest : str
        Fingerprint of the training images as features, see `ProximalProblem.digest`.
    device : str
        Name the machine gave itself.
    coupling_bits : int or None
        As asked for.
    block_spins : int
        Largest block in use.
    stage : int
        Which descent, see `ProximalRecipe.stages`.
    state : ProximalState
    calls : int
        Calls of the machine that were paid for.
    seconds : float
    curve : Curve
    """

    dataset: str
    classes: tuple[int, ...]
    recipe: ProximalRecipe
    digest: str
    device: str
    coupling_bits: int | None
    block_spins: int
    stage: int
    state: ProximalState
    calls: int
    seconds: float
    curve: Curve

    def save(self, path: Path) -> None:
        """Write the file, all or nothing."""
        about = _About(
            format=FORMAT,
            dataset=self.dataset,
            classes=self.classes,
            recipe=self.recipe,
            digest=self.digest,
            device=self.device,
            coupling_bits=self.coupling_bits,
            block_spins=self.block_spins,
            stage=self.stage,
            step=self.state.step,
            scale=self.state.scale,
            best_loss=self.state.best_loss if np.isfinite(self.state.best_loss) else None,
            best_step=self.state.best_step,
            calls=self.calls,
            seconds=self.seconds,
            curve=_CurveAbout(**asdict(self.curve)),
        )
        arrays = {"bits": self.state.bits, "best": self.state.best}
        write_arrays(path, {"about": about.model_dump_json(), **arrays})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        CheckpointError
            Not such a file, or one whose parts do not fit together.
        """
        arrays = read_arrays(path, CheckpointError, max_bytes=MAX_BYTES)
        with reading(path, CheckpointError, "is no checkpoint"):
            about = _About.model_validate_json(str(arrays["about"]))
            bits, best = (_bits(arrays[name]) for name in ("bits", "best"))
        if about.format != FORMAT or len(bits) != len(best):
            raise CheckpointError(f"{path} is no checkpoint of the format {FORMAT}")
        loss = np.inf if about.best_loss is None else about.best_loss
        return cls(
            about.dataset,
            about.classes,
            about.recipe,
            about.digest,
            about.device,
            about.coupling_bits,
            about.block_spins,
            about.stage,
            ProximalState(about.step, bits, about.scale, best, loss, about.best_step),
            about.calls,
            about.seconds,
            Curve(**about.curve.model_dump()),
        )


def _bits(array: NDArray[Any]) -> NDArray[np.int8]:
    if array.dtype != np.int8 or array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"bits of shape {array.shape} and type {array.dtype}")
    return array
