"""Every public function and class of `qnn_train`, with arguments of wrong types.

Names and parameters are found by themselves. A public name is `checked`, or stands in `MADE`.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from wrong_values import WRONG

from cim_hal import CimError
from qnn_train import (
    AssemblyError,
    QuantizedNetworkClassifier,
    QuantizedNetworkRegressor,
    arguments,
)
from qnn_train.arguments import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = ("network", "program", "solve", "training", "data", "linear", "model.trained")
# Made by the package, and called by users only on what it made; recipes check by name and range.
MADE = {
    "AllImagesState", "Allocation", "Answer", "Assembly", "BitFunction", "Block", "Candidate",
    "Checkpoint", "Cost",
    "Examples", "Expansion", "HardnessRecord", "HedgingState", "History", "Iterate", "LinearFit",
    "LocalSearchResult", "Optimum", "Outcome", "Pair", "PenaltyState", "PolishRecord",
    "Preparation", "ProximalProblem", "ProximalRecipe", "ProximalState", "ProximalStep",
    "RandomSearchState", "Recipe", "RunReport", "Selection", "SpinCount", "State", "TrainingStep",
    "VariableTable", "restored", "to_arrays",
}  # fmt: skip


@checked
class _Pair:
    def __init__(self, first: int, second: float = 0.0, *rest: str) -> None:
        self.values = first, second, rest

    @classmethod
    def of(cls, both: tuple[int, float]) -> _Pair:
        return cls(*both)


def test_what_is_right_passes_unchanged():
    assert _Pair(np.int64(3), 2).values == (3, 2, ())
    assert _Pair.of((1, np.float32(0.5))).values == (1, 0.5, ())


@pytest.mark.parametrize("wrong", [{}, {"first": 1.0}, {"first": True}, {"first": 1, "x": 2}])
def test_what_is_wrong_is_named(wrong):
    with pytest.raises((AssemblyError, TypeError), match=r"first|x"):
        _Pair(**wrong)
    with pytest.raises(AssemblyError, match="both"):
        _Pair.of((1, "a"))


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for package in PACKAGES:
        module = import_module(f"qnn_train.{package}")
        for name in module.__all__:
            public = getattr(module, name)
            is_protocol = getattr(public, "_is_protocol", False)
            is_callable = inspect.isroutine(public) or inspect.isclass(public)
            if is_callable and name not in MADE and not is_protocol:
                yield name, public


PUBLIC = dict(_public())


def _called(name: str, public: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield what can be called of a public name: itself, and the class methods of a class."""
    yield name, public
    for attribute, method in vars(public).items() if inspect.isclass(public) else ():
        if isinstance(method, classmethod) and not attribute.startswith("_"):
            yield f"{name}.{attribute}", getattr(public, attribute)


def _taken(kind: str) -> set[str]:
    """Return which of the wrong values are right by an annotation."""
    words = {
        "None": {"None"}, "bool": {"bool"}, "str": {"text"}, "Array": {"array", "nan", "bool"},
        "sparray": {"sparse"}, "CsrArray": {"sparse"}, "Any": set(WRONG),
    }  # fmt: skip
    return set().union(*(values for word, values in words.items() if word in kind))


@pytest.mark.parametrize("name", PUBLIC)
def test_wrong_types_are_refused_by_name_before_anything_runs(name, monkeypatch):
    right, fits = object(), arguments._fits
    monkeypatch.setattr(arguments, "_fits", lambda value, kind: value is right or fits(value, kind))
    for where, function in _called(name, PUBLIC[name]):
        parameters = inspect.signature(function).parameters.values()
        needed = {each.name: right for each in parameters if each.default is each.empty}
        for each in parameters:
            for key in WRONG.keys() - _taken(str(each.annotation)):
                with pytest.raises(AssemblyError, match=rf"^{each.name} = ") as caught:
                    function(**needed | {each.name: WRONG[key]})
                assert len(str(caught.value)) < 300, (where, key)


def test_a_path_may_be_a_text():
    for package in (*PACKAGES, "data.fashion_mnist", "data.tables", "model.onnx", "model.integer"):
        module = import_module(f"qnn_train.{package}")
        for name in module.__all__:
            public = getattr(module, name)
            methods = [public, *vars(public).values()] if inspect.isclass(public) else [public]
            for function in filter(inspect.isfunction, methods):
                kinds = {**function.__annotations__, "return": ""}.values()
                is_made = function.__name__ == "__init__"  # of values that the package makes
                assert is_made or not re.search(r"\bPath\b", " ".join(map(str, kinds))), name


@pytest.mark.parametrize("estimator", [QuantizedNetworkClassifier, QuantizedNetworkRegressor])
def test_wrong_parameters_and_samples_of_an_estimator_are_named(estimator):
    X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    taken = {
        "None": {"output_bias_bits", "round_trips", "block_reads", "block_spins", "callbacks",
                 "checkpoint", "class_weight", "coupling_bits", "init", "random_state"},
        "bool": {"early_stopping", "polish", "verbose"},
        "text": {"checkpoint", "device"},
        "dict": {"class_weight"} if hasattr(estimator, "classes_") else set(),  # by scikit-learn
    }  # fmt: skip
    for name in estimator().get_params():
        for key, value in WRONG.items():
            if name not in taken.get(key, ()):
                with pytest.raises(CimError, match=name):
                    estimator(**{name: value}).fit(X, y)
    for key in WRONG.keys() - {"array", "mixed"}:
        with pytest.raises((ValueError, TypeError), match=r"\bX\b"):
            estimator().fit(WRONG[key], y)
        with pytest.raises((ValueError, TypeError), match=r"\by\b"):
            estimator().fit(X, WRONG[key])
