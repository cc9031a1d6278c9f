"""What a training on many images did, as numbers for a program and for a laboratory book."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Curve", "ProximalReport"]


@dataclass(frozen=True, eq=False)
class Curve:
    """One number a sweep.

    Attributes
    ----------
    calls : tuple of int
        Of the machine, so far.
    loss : tuple of float
        The least so far on the images that judge.
    train_accuracy : tuple of float
        Of the best network so far.
    validation_accuracy : tuple of float or None
        None where no images are kept for that.
    """

    calls: tuple[int, ...] = ()
    loss: tuple[float, ...] = ()
    train_accuracy: tuple[float, ...] = ()
    validation_accuracy: tuple[float | None, ...] = ()

    def then(self, calls: int, loss: float, train: float, validation: float | None) -> Curve:
        """Return the curve with one more sweep."""
        return Curve(
            (*self.calls, calls),
            (*self.loss, loss),
            (*self.train_accuracy, train),
            (*self.validation_accuracy, validation),
        )


@dataclass(frozen=True)
class ProximalReport:
    """The outcome of a training by proximal descent.

    Attributes
    ----------
    method : str
    dataset, classes, class_names
        What was told apart.
    network : str
        Sizes of its layers.
    test_accuracy, train_accuracy, validation_accuracy : float
        Share of right answers; the last is None where no images were kept apart.
    n_test, n_train, n_validation : int
        Their numbers.
    bits_per_parameter : float
        Mean over all weights and biases of the bits that encode them.
    n_parameters, n_bits : int
        Weights and biases, and bits that encode them.
    blocks, spins : int
        Parts the network is trained in, and bits of the largest, without the spin that a machine
        without a field adds.
    oracle_calls, runs_per_call, steps : int
        Jobs, runs in each, and steps of a block.
    seconds : float
        Wall time of the training, over all its parts if it was interrupted.
    seed : int
    device : str
        Name the machine gives itself.
    coupling_bits : int or None
        Bits of a coupling as used; None where the machine takes real numbers.
    recipe : dict
        All of the recipe.
    curve : Curve
    """

    method: str
    dataset: str
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    network: str
    test_accuracy: float
    train_accuracy: float
    validation_accuracy: float | None
    n_test: int
    n_train: int
    n_validation: int
    bits_per_parameter: float
    n_parameters: int
    n_bits: int
    blocks: int
    spins: int
    oracle_calls: int
    runs_per_call: int
    steps: int
    seconds: float
    seed: int
    device: str
    coupling_bits: int | None
    recipe: dict[str, Any]
    curve: Curve

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: Path) -> None:
        """Write the JSON to `path`."""
        path.write_text(self.to_json() + "\n", encoding="utf-8")
