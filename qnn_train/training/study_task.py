"""Trainings in studies of robustness: accuracy over any field of a recipe, and of the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, StudyError
from cim_hal.study.tasks import Trained
from qnn_train.data.datasets import Pair, load_digits
from qnn_train.data.fashion_mnist import data_directory, load_fashion_mnist
from qnn_train.method_names import MACHINE
from qnn_train.training.methods import METHODS
from qnn_train.training.qcbo import prepare
from qnn_train.training.recipe import Recipe
from qnn_train.training.run import run_recipe

if TYPE_CHECKING:
    from cim_hal import Session

__all__ = ["RecipeTask", "task"]

DATASETS = ("digits", "fashion-mnist")
OWN = ("dataset", "classes")  # options that are no fields of a recipe


class RecipeTask:
    """Trainings of two classes by recipes: a `cim_hal.study.tasks.TrainTask`.

    Options are `dataset` ("digits" or "fashion-mnist", in ``$QNN_DATA_DIR``), `classes` (two) and
    the fields of a `Recipe`; factors are its fields too.
    """

    factors: Collection[str] = tuple(f.name for f in fields(Recipe) if f.name != "seed")

    def check(
        self,
        session: Session,
        options: Mapping[str, Any],
        levels: Mapping[str, Collection[Any]],
    ) -> None:
        """Raise a `StudyError` unless each training can begin on the machine, without a job."""
        names = [name for name in levels if name in self.factors]
        for values in product(*(levels[name] for name in names)):
            try:
                recipe, pair = _prepared(options, dict(zip(names, values, strict=True)), 0)
                if recipe.method not in METHODS:
                    raise StudyError(f"no method {recipe.method!r}; {', '.join(METHODS)}")
                prepare(recipe, pair).stepper(session if recipe.oracle == MACHINE else None)
            except (CimError, TypeError, ValueError) as error:
                raise StudyError(f"train: {error}") from None

    def n_tested(self, options: Mapping[str, Any]) -> int:
        """Return on how many samples trainings of these options are tested."""
        return len(_prepared(options, {}, 0)[1].test)

    def no_infeasibility(self, options: Mapping[str, Any]) -> str:
        """Return why trainings of these options have no constraints; empty where they have."""
        is_random = options.get("method") == "random"
        return "the method random has no constraints" if is_random else ""

    def train(
        self, session: Session, options: Mapping[str, Any], levels: Mapping[str, Any], seed: int
    ) -> Trained:
        """Train a network on a machine, or by the search on the host that the recipe names."""
        prepared = prepare(*_prepared(options, levels, seed))
        outcome = run_recipe(prepared, session if prepared.recipe.oracle == MACHINE else None)
        report, model = outcome.report, outcome.model
        network = hashlib.sha256()
        for array in (*model.network.weights, *model.network.biases):
            network.update(array.tobytes())
        lacking = self.no_infeasibility({**options, **levels}) or "it is no finite number"
        return Trained(
            correct=round(report.test_accuracy * report.n_test),
            tested=report.n_test,
            objective=float(report.objective or 0.0),
            n_spins=report.spins,
            sha256=network.hexdigest(),
            infeasibility=report.infeasibility,
            no_infeasibility=lacking if report.infeasibility is None else "",
            calls=report.oracle_calls,
        )


def _prepared(
    options: Mapping[str, Any], levels: Mapping[str, Any], seed: int
) -> tuple[Recipe, Pair]:
    recipe = {name: value for name, value in options.items() if name not in OWN}
    dataset, classes = options.get("dataset", "digits"), options.get("classes", (0, 1))
    if dataset not in DATASETS:
        raise StudyError(f"dataset = {dataset!r}", hint=f"one of {', '.join(DATASETS)}")
    if not isinstance(classes, list | tuple) or [type(each) for each in classes] != [int, int]:
        raise StudyError(f"classes = {classes!r}", hint="two numbers, such as [3, 8]")
    return Recipe(**{**recipe, **levels, "seed": seed}), _pair(dataset, *classes)


@lru_cache(4)
def _pair(dataset: str, first: int, second: int) -> Pair:
    loaded = load_digits() if dataset == "digits" else load_fashion_mnist(data_directory(None))
    return loaded.pair(first, second)


task = RecipeTask()
