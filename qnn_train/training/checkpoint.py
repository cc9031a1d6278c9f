"""A training on a program that can go on after its process was killed, whatever its method.

``solver.NAME`` are the fields of the state of the method, ``networks`` the different ones seen,
packed, ``best`` the best of them; ``about`` is a JSON text with everything else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from qnn_train.archive import read_arrays, reading, write_arrays
from qnn_train.errors import CheckpointError
from qnn_train.network import QuantizedNetwork
from qnn_train.solve import Candidate
from qnn_train.training.qcbo import SolverState
from qnn_train.training.recipe import Recipe
from qnn_train.training.report import History

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMAT", "ProgramCheckpoint", "Solving"]

FORMAT = "cim-hal/qnn-program-checkpoint/1"  # pydantic wants it spelled out below
MAX_BYTES = 256 * 2**20
SOLVER = "solver."


@dataclass(frozen=True, kw_only=True)
class Solving:
    """How a program is solved.

    Attributes
    ----------
    method : str
        A key of `qnn_train.training.methods.METHODS`.
    n_runs : int
        Runs of the machine a call.
    coupling_bits : int or None
        As asked for.
    batch : int
        Images of a part, for methods on parts.
    pack : bool
        Whether parts share tasks of the machine.
    device : str
        Name the machine gave itself.
    """

    method: str
    n_runs: int
    coupling_bits: int | None
    batch: int
    pack: bool
    device: str


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["cim-hal/qnn-program-checkpoint/1"] = FORMAT
    dataset: Annotated[str, Field(max_length=256)]
    classes: Annotated[tuple[int, ...], Field(min_length=2, max_length=2)]
    recipe: Recipe
    digest: Annotated[str, Field(max_length=64)]
    solving: Solving
    iterations: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(ge=0)]
    history: History
    accuracy: Annotated[float, Field(ge=0, le=1)]
    losses: Annotated[tuple[float, ...], Field(max_length=16)]
    n_networks: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, eq=False)
class ProgramCheckpoint:
    """All that a training needs to go on as if it had not been stopped.

    Attributes
    ----------
    dataset, classes
        What is told apart.
    recipe : Recipe
    digest : str
        Fingerprint of the images as features, see `Preparation.digest`.
    solving : Solving
    iterations : int
        Calls that were planned; more or fewer may be made.
    seconds : float
    history : History
    saved : SolverState
    """

    dataset: str
    classes: tuple[int, ...]
    recipe: Recipe
    digest: str
    solving: Solving
    iterations: int
    seconds: float
    history: History
    saved: SolverState

    def save(self, path: Path) -> None:
        """Write the file, all or nothing."""
        best = self.saved.best
        about = _About(
            dataset=self.dataset,
            classes=self.classes,
            recipe=self.recipe,
            digest=self.digest,
            solving=self.solving,
            iterations=self.iterations,
            seconds=self.seconds,
            history=self.history,
            accuracy=best.accuracy,
            losses=best.losses,
            n_networks=len(self.saved.networks),
        )
        solver = {SOLVER + name: array for name, array in self.saved.solver.items()}
        networks = np.packbits(self.saved.networks, axis=1)
        found = {"networks": networks, "best": best.network.to_bits()}
        write_arrays(path, {"about": about.model_dump_json(), **found, **solver})

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
            about = _About.model_validate_json(str(arrays.pop("about")))
            saved = _saved(about, arrays)
        return cls(
            about.dataset,
            about.classes,
            about.recipe,
            about.digest,
            about.solving,
            about.iterations,
            about.seconds,
            about.history,
            saved,
        )


def _saved(about: _About, arrays: dict[str, NDArray[Any]]) -> SolverState:
    """Return what was saved; a ValueError where it is not bits, or of other lengths."""
    networks, best = arrays.pop("networks"), arrays.pop("best")
    solver = {name.removeprefix(SOLVER): array for name, array in arrays.items()}
    architecture = about.recipe.architecture
    n_bits = architecture.n_bits
    if networks.dtype != np.uint8 or networks.shape != (about.n_networks, -(-n_bits // 8)):
        raise ValueError(f"networks of shape {networks.shape} and type {networks.dtype}")
    if best.dtype != np.int8 or best.shape != (n_bits,) or not np.isin(best, (0, 1)).all():
        raise ValueError(f"a network of shape {best.shape} and type {best.dtype}")
    lengths = {len(column) for column in asdict(about.history).values()}
    if lengths != {solver["step"].item()}:
        raise ValueError(f"a history of {sorted(lengths)} steps")
    candidate = Candidate(
        QuantizedNetwork.from_bits(architecture, best), about.accuracy, about.losses
    )
    unpacked = np.unpackbits(networks, axis=1, count=n_bits).astype(np.int8)
    return SolverState(solver, unpacked, candidate)
