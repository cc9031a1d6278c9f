"""What is learnt: classes, numbers of images, recipes, and the methods to compare."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnn_train import load_fashion_mnist
from qnn_train.training import ProximalProblem, ProximalRecipe, preset

if TYPE_CHECKING:
    from qnn_train.data import Dataset

__all__ = ["ALL", "TASKS", "Task", "dataset", "problem_of"]

ALL = tuple(range(10))


@dataclass(frozen=True)
class Task:
    """One line of the goals, with what it asks for in percent."""

    name: str
    recipe: str
    classes: tuple[int, ...]
    goal: float
    images: int | None = None
    weights: str = "binary"
    device: str = "emulator-dsb"

    @property
    def proximal(self) -> ProximalRecipe:
        """The recipe, without its seed."""
        named = preset(self.recipe)
        return replace(named, weights=self.weights, train_samples=self.images)


TASKS = {
    task.name: task
    for task in (
        Task("shirt-100", "few-4x4", (0, 6), 78.0, 100),
        Task("ten-binary", "ten-classes-7x7", ALL, 74.3),
        Task("ten-ternary", "ten-classes-7x7", ALL, 78.8, weights="ternary"),
        Task("tiny", "tiny-2x2", (4, 5), 98.0, 1000, "ternary"),
    )
}


@lru_cache(maxsize=1)
def dataset() -> Dataset:
    """Return Fashion-MNIST from ``$CIM_SHARED_DIR/data/fashion_mnist`` or ``$QNN_DATA_DIR``."""
    shared = os.environ.get("CIM_SHARED_DIR")
    where = Path(shared, "data/fashion_mnist") if shared else Path(os.environ["QNN_DATA_DIR"])
    return load_fashion_mnist(where)


def problem_of(task: Task, seed: int, **changes: Any) -> ProximalProblem:
    """Return the images and features of a seed: the same for every method, whatever its changes."""
    recipe = replace(task.proximal, seed=seed, **changes)
    return ProximalProblem.of(recipe, dataset().select(task.classes))
