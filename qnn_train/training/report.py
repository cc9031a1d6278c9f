"""What a training did, as numbers for a program and for a laboratory book."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cim_hal.atomic_files import replace_text
from qnn_train.data import Selection
from qnn_train.model.trained import TrainedModel
from qnn_train.network import Architecture
from qnn_train.training.oracles import OracleRecord, device_of
from qnn_train.training.recipe import ProximalRecipe, Recipe

if TYPE_CHECKING:
    from cim_hal import Capabilities

__all__ = ["History", "Outcome", "Row", "RunReport", "finite"]


def finite(value: float) -> float | None:
    """Return a number as JSON knows it: None for what is not finite."""
    return value if math.isfinite(value) else None


class Row(NamedTuple):
    """One entry of a `History`."""

    calls: int
    objective: float | None
    accuracy: float
    infeasibility: float | None = None
    gap: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class History:
    """One number a step, or a sweep of proximal descent; None where the method has none."""

    calls: list[int]  # oracle calls paid
    # objective of the averaged W; the least loss so far for proximal descent
    objective: list[float | None]
    # accuracy of the best network so far on the images it is scored or trained on
    accuracy: list[float]
    infeasibility: list[float | None]  # ‖𝒜W‖
    gap: list[float | None]  # surrogate duality gap
    # accuracy of the best network so far on images kept apart
    validation_accuracy: list[float | None]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> History:
        """Return the columns of these rows."""
        columns: Any = zip(*rows, strict=True) if rows else [()] * len(Row._fields)
        return cls(*map(list, columns))

    def rows(self) -> list[Row]:
        """Return the rows of these columns; a ValueError if their lengths differ."""
        return [Row(*values) for values in zip(*asdict(self).values(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The outcome of a training. What a method does not have is None.

    Attributes
    ----------
    method : str
        Key of ``qnn_train.training.methods.METHODS``, or ``"proximal"``.
    dataset, classes, class_names
        What was told apart.
    network : str
        Sizes of its layers.
    weights, bias_bits, grid
        As in the recipe.
    test_accuracy, train_accuracy, subset_accuracy, validation_accuracy : float
        Share of right answers on the test images, on the training images, on those in the
        program, and on those kept apart.
    n_test, n_train, train_samples, n_validation : int
        Their numbers.
    bits_per_parameter : float
        Mean over all weights and biases of the bits that encode them.
    n_parameters, n_bits : int
        Weights and biases, and bits that encode them.
    spins, couplings : int
        Size of the largest problem, without the spin that a machine without a field adds.
    equalities, products : int
        Of the program, or of its largest part.
    batch : int
        Images of a part; None where the program is whole.
    blocks : int
        Parts the network is trained in.
    oracle : str
        What minimized: ``"machine"``, or the name of a search on the host.
    oracle_calls, runs_per_call, steps : int
        Jobs, runs or searches in each, and steps of the method.
    polish : dict
        Of the samples of the machine, see `PolishRecord`: ``samples``, ``changed_share``,
        ``flips``, ``mean_gain`` in units of the forms, and ``seconds``.
    hardness : dict
        Of the problems that the oracle was given, see `HardnessRecord`: ``problems`` looked at,
        ``solved_share`` that one descent from random bits solves as well as the best known,
        its ``mean_gap``, and ``seconds``. None where no oracle was asked.
    candidates : int
        Different networks among all samples.
    init : dict
        Of the given network that the descent began with: ``objective``, ``train_accuracy`` and
        ``validation_accuracy``.
    seconds : float
        Wall time of the training, over all its parts if it was interrupted.
    infeasibility, objective, gap : float
        At the last step.
    seed : int
    device : str
        Name the machine gives itself; None where the oracle is on the host.
    coupling_bits : int
        Bits of a coupling as used; None where the machine takes real numbers.
    score : str
        On which images candidates were compared.
    recipe : dict
        All of the recipe.
    history : History
    """

    method: str
    dataset: str
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    network: str
    weights: str | tuple[str, ...]
    bias_bits: int
    grid: int
    test_accuracy: float
    train_accuracy: float
    subset_accuracy: float | None = None
    validation_accuracy: float | None = None
    n_test: int
    n_train: int
    train_samples: int | None = None
    n_validation: int | None = None
    bits_per_parameter: float
    n_parameters: int
    n_bits: int
    spins: int
    couplings: int
    equalities: int | None = None
    products: int | None = None
    batch: int | None = None
    blocks: int | None = None
    oracle: str
    oracle_calls: int
    polish: dict[str, float] | None = None
    hardness: dict[str, float] | None = None
    runs_per_call: int
    steps: int
    candidates: int | None = None
    init: dict[str, Any] | None = None
    seconds: float
    infeasibility: float | None = None
    objective: float | None = None
    gap: float | None = None
    seed: int
    device: str | None
    coupling_bits: int | None
    score: str | None = None
    recipe: dict[str, Any]
    history: History

    @classmethod
    def of(
        cls,
        recipe: Recipe | ProximalRecipe,
        selection: Selection,
        architecture: Architecture,
        capabilities: Capabilities,
        *,
        oracle: OracleRecord,
        rows: Sequence[Row],
        **measured: Any,
    ) -> Self:
        """Return the report of a training; `measured` are the attributes that differ by method."""
        return cls(
            method=recipe.method,
            dataset=selection.dataset,
            classes=selection.classes,
            class_names=selection.class_names,
            network=str(architecture),
            weights=recipe.weights,
            bias_bits=recipe.bias_bits,
            grid=recipe.grid,
            n_test=len(selection.test),
            n_parameters=architecture.n_parameters,
            n_bits=architecture.n_bits,
            oracle=recipe.oracle,
            oracle_calls=oracle.calls,
            **oracle.report(),
            runs_per_call=recipe.n_runs,
            seed=recipe.seed,
            device=device_of(capabilities),
            coupling_bits=recipe.coupling_bits or capabilities.coupling_bits,
            recipe=asdict(recipe),
            history=History.of(rows),
            **measured,
        )

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON to `path`, whole or not at all."""
        replace_text(path, f"{self.to_json()}\n")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained model and how it came to be.

    Attributes
    ----------
    model : TrainedModel
    report : RunReport
    """

    model: TrainedModel
    report: RunReport
