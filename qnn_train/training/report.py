"""What a training run did, as numbers for a program and for a laboratory book."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from qnn_train.training.qcbo import TrainingStep

__all__ = ["History", "RunReport", "finite"]


def finite(value: float) -> float | None:
    """Return a number as JSON knows it: None for what is not finite."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class History:
    """One number a step; None where the method has none.

    Attributes
    ----------
    objective : list of float
        Objective of the averaged W.
    infeasibility : list of float
        ‖𝒜W‖.
    gap : list of float
        Surrogate duality gap.
    calls : list of int
        Oracle calls paid.
    accuracy : list of float
        Accuracy of the best network so far on the images it is scored on.
    """

    objective: list[float | None] = field(default_factory=list)
    infeasibility: list[float | None] = field(default_factory=list)
    gap: list[float | None] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def then(self, step: TrainingStep) -> History:
        """Return the history with one more step."""
        return History(
            [*self.objective, finite(step.iterate.objective)],
            [*self.infeasibility, finite(step.iterate.infeasibility)],
            [*self.gap, finite(step.iterate.gap)],
            [*self.calls, step.iterate.calls],
            [*self.accuracy, step.best.accuracy],
        )


@dataclass(frozen=True)
class RunReport:
    """The outcome of a training run.

    Attributes
    ----------
    dataset, classes, class_names
        What was told apart.
    network : str
        Sizes of its layers.
    test_accuracy, train_accuracy, subset_accuracy : float
        Share of right answers on the test images, on the whole training split of the two classes,
        and on the images in the program.
    n_test, n_train, train_samples : int
        Their numbers.
    bits_per_parameter : float
        Mean over all weights and biases of the bits that encode them.
    spins, couplings, equalities, products : int
        Size of the program, or of its largest part, without the spin that a machine without a
        field adds.
    method : str
        Key of `qnn_train.training.methods.METHODS`.
    batch : int or None
        Images of a part; None where the program is whole.
    oracle_calls, runs_per_call, candidates : int
        Jobs, runs in each, and different networks among their samples.
    seconds : float
        Wall time of the training, from the assembly to the last step.
    infeasibility, objective, gap : float or None
        At the last step; None where the method has none.
    seed : int
    device : str
        Name the machine gives itself.
    coupling_bits : int or None
        Bits of a coupling as used; None where the machine takes real numbers.
    score : str
        On which images candidates were compared.
    history : History
    """

    dataset: str
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    network: str
    weights: str
    bias_bits: int
    grid: int
    test_accuracy: float
    train_accuracy: float
    subset_accuracy: float
    n_test: int
    n_train: int
    train_samples: int
    bits_per_parameter: float
    spins: int
    couplings: int
    equalities: int
    products: int
    method: str
    batch: int | None
    oracle_calls: int
    runs_per_call: int
    candidates: int
    seconds: float
    infeasibility: float | None
    objective: float | None
    gap: float | None
    seed: int
    device: str
    coupling_bits: int | None
    score: str
    history: History

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: Path) -> None:
        """Write the JSON to `path`."""
        path.write_text(self.to_json() + "\n", encoding="utf-8")
