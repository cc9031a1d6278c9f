"""Parameters of estimators and recipes: checked before any work, in the words of the caller.

A check takes the name of a parameter and its value; it returns the value in Python's own types, so
that a number of numpy and the same number of Python make the same recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from cim_hal import ModelError
from cim_hal.machine.policies import Policy
from qnn_train.errors import AssemblyError
from qnn_train.network.codes import MAX_BITS, weight_code

__all__ = [
    "BIAS_BITS",
    "COUNT",
    "HIDDEN",
    "MAX_SIZE",
    "ROUND_TRIPS",
    "SEED",
    "Check",
    "check_all",
    "flag",
    "lowering",
    "one_of",
    "one_or_more",
    "optional",
    "real",
    "text",
    "tuple_of",
    "weights",
    "whole",
]

Check: TypeAlias = Callable[[str, Any], Any]

MAX_SIZE = 4096  # neurons of a layer, as model files take them
MAX_LAYERS = 63


def check_all(checks: Mapping[str, Check], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values, checked.

    Raises
    ------
    AssemblyError
        The first that is wrong: its name, its value, and what would be right.
    """
    return {name: checks[name](name, value) for name, value in values.items()}


def _refuse(name: str, value: object, right: str) -> AssemblyError:
    shown = repr(value)
    return AssemblyError(f"{name} = {shown if len(shown) < 200 else shown[:200] + '…'}", hint=right)


def _plain(value: Any) -> Any:
    """Return a number of numpy as one of Python."""
    is_number = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if is_number else value


def whole(low: int, high: int) -> Check:
    """Return the check of a whole number."""

    def check(name: str, value: Any) -> int:
        number = _plain(value)
        if type(number) is not int or not low <= number <= high:
            raise _refuse(name, value, f"a whole number from {low} to {high}")
        return number

    return check


def real(low: float, high: float, *, above: bool = False, below: bool = False) -> Check:
    """Return the check of a finite number; with `above` or `below` that bound is excluded."""
    right = (
        f"a number {'above' if above else 'from'} {low:g} {'to below' if below else 'to'} {high:g}"
    )

    def check(name: str, value: Any) -> float:
        number = _plain(value)
        is_number = type(number) in {int, float} and abs(number) <= sys.float_info.max
        if not (is_number and (low < number if above else low <= number)):
            raise _refuse(name, value, right)
        if not (number < high if below else number <= high):
            raise _refuse(name, value, right)
        return float(number)

    return check


def one_of(choices: Collection[str]) -> Check:
    """Return the check of a word."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _refuse(name, value, f"one of {', '.join(choices)}")
        return str(value)

    return check


def text(name: str, value: Any) -> str:
    """Check a text."""
    if not isinstance(value, str):
        raise _refuse(name, value, "a text")
    return str(value)


def lowering(name: str, value: Any) -> str:
    """Check the policy by which a model is brought to few bits."""
    policy = text(name, value)
    try:
        Policy.of(policy)
    except ModelError as error:
        raise AssemblyError(error.message, hint=error.hint) from None
    return policy


def flag(name: str, value: Any) -> bool:
    """Check a truth value."""
    plain = _plain(value)
    if type(plain) is not bool:
        raise _refuse(name, value, "True or False")
    return plain


def optional(check: Check) -> Check:
    """Return a check that lets None through."""
    return lambda name, value: None if value is None else check(name, value)


def tuple_of(check: Check, low: int, high: int) -> Check:
    """Return the check of a sequence of `low` to `high` values."""

    def check_each(name: str, value: Any) -> tuple[Any, ...]:
        is_array = isinstance(value, np.ndarray) and value.ndim > 0
        if isinstance(value, str | bytes) or not (is_array or isinstance(value, Sequence)):
            raise _refuse(name, value, "a sequence")
        values = tuple(value)
        if not low <= len(values) <= high:
            raise _refuse(name, value, f"{low} to {high} values")
        return tuple(check(f"{name}[{place}]", each) for place, each in enumerate(values))

    return check_each


def one_or_more(check: Check) -> Check:
    """Return the check of a value, or of a sequence of at least one."""
    several = tuple_of(check, 1, 1000)

    def check_either(name: str, value: Any) -> Any:
        is_one = isinstance(_plain(value), str | int | float)
        return check(name, value) if is_one else several(name, value)

    return check_either


def weights(name: str, value: Any) -> str | tuple[str, ...]:
    """Check the name of a code of weights, or of one for each layer."""
    if not isinstance(value, str):
        return tuple_of(_code, 1, MAX_LAYERS + 1)(name, value)
    return _code(name, value)


def _code(name: str, value: Any) -> str:
    try:
        weight_code(text(name, value))
    except AssemblyError as error:
        raise AssemblyError(f"{name} = {value!r}: {error.message}", hint=error.hint) from None
    return str(value)


def hidden(name: str, value: Any) -> int | tuple[int, ...]:
    """Check the neurons of a hidden layer, 0 for none, or of several."""
    if isinstance(_plain(value), int):
        return whole(0, MAX_SIZE)(name, value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _refuse(name, value, "a whole number, or several: 8, or (8, 4); 0 for none")
    return tuple_of(whole(1, MAX_SIZE), 0, MAX_LAYERS)(name, value)


COUNT = whole(1, 10**9)
SEED = whole(0, 2**63 - 1)
BIAS_BITS = whole(0, MAX_BITS)
ROUND_TRIPS = optional(whole(1, 10_000_000))
HIDDEN = hidden
