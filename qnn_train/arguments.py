"""Arguments of public functions and classes: checked against their annotations before any work."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from cim_hal.model.conversion import has_bool, with_article
from qnn_train.arrays import Array, ArrayLike, BitArray
from qnn_train.errors import AssemblyError

__all__ = ["as_bits", "check_whole", "checked"]

Public = TypeVar("Public", bound=Callable[..., Any])

_ARRAY_LIKE = frozenset(get_args(ArrayLike) or (ArrayLike,))  # a name of its own from numpy 2.5


def checked(public: Public) -> Public:
    """Return a function that refuses, by name, arguments that are not of its annotations.

    Of a class that is checked in this way, and changed in place: its constructor and its class
    methods. Ranges, shapes and what else a value must be are for the function to check.

    Raises
    ------
    AssemblyError
        When it is called: an argument is of another type.
    """
    cls: Any = public
    if not isinstance(cls, type):
        return _guarded(public)
    for name, method in list(vars(cls).items()):
        if isinstance(method, classmethod) and not name.startswith("_"):
            setattr(cls, name, classmethod(_guarded(method.__func__)))
    setattr(cls, "__init__", _guarded(cls.__init__))  # noqa: B010  not of one object
    return public


def as_bits(name: str, value: ArrayLike) -> BitArray:
    """Return an array of 0 and 1 as int8; spins and shares of ones are refused.

    Raises
    ------
    AssemblyError
        Another number.
    """
    bits = np.asarray(value)
    if not ((bits == 0) | (bits == 1)).all():
        raise AssemblyError(
            f"{name} has numbers other than 0 and 1", hint="spins s are (s + 1) / 2"
        )
    return bits.astype(np.int8, copy=False)


def check_whole(name: str, value: Array) -> None:
    """Refuse an array with a number that is not whole, or not finite: a cast would change it.

    Raises
    ------
    AssemblyError
        Such a number.
    """
    if value.dtype.kind == "f" and not (np.isfinite(value) & (value == np.rint(value))).all():
        raise AssemblyError(f"{name} must be integers")


def _guarded(function: Any) -> Any:
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kinds = _kinds(function)
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in kinds and not _fits(value, kinds[name]):
                kind = signature.parameters[name].annotation
                what = f"{name} = {value!r:.100}, {with_article(type(value).__name__)}"
                raise AssemblyError(what, hint=f"it must be of the type {kind}")
        return function(*args, **kwargs)

    return call


@cache
def _kinds(function: Any) -> dict[str, Any]:
    """Return the types of parameters; at the first call, when all modules are imported."""
    return get_type_hints(function)


def _fits(value: Any, kind: Any) -> bool:  # noqa: C901, PLR0911, PLR0912  a table
    kind = _written_out(kind)
    origin, inner = get_origin(kind), get_args(kind)
    match kind:
        case _ if kind is ArrayLike:
            return _is_array(value)
        case _ if kind is Any or isinstance(kind, TypeVar):
            return True
        case _ if origin in {Union, UnionType}:
            if set(inner) >= _ARRAY_LIKE:  # with whatever else it may be
                return _is_array(value) or any(_fits(value, x) for x in {*inner} - _ARRAY_LIKE)
            return any(_fits(value, each) for each in inner)
        case _ if origin is np.ndarray:
            is_any = get_args(inner[-1]) == (Any,)  # texts too
            return _is_array(value) or (is_any and isinstance(value, np.ndarray))
        case _ if origin is Literal:
            return isinstance(value, str) and value in inner
        case _ if origin is Callable:
            return callable(value)
        case _ if origin in {tuple, list, Sequence, Iterable}:
            several = (
                Sequence | np.ndarray | (Collection | Iterator if origin is Iterable else list)
            )
            return isinstance(value, several) and _fits_each(
                value, [x for x in inner if x is not ...]
            )
        case _ if origin is Mapping:
            return isinstance(value, Mapping) and all(
                _fits(each, kind)
                for item in value.items()
                for each, kind in zip(item, inner, strict=True)
            )
        case _ if kind is int:
            return _is_number(value, int, np.integer) and abs(value) < 2**63
        case _ if kind is float:
            return _is_number(value, int, float, np.integer, np.floating)
        case _ if kind is NoneType:
            return value is None
        case _ if getattr(origin or kind, "_is_protocol", False):
            return all(hasattr(value, name) for name in dir(origin or kind) if name[0] != "_")
        case _:
            return isinstance(value, origin or kind)


def _written_out(kind: Any) -> Any:
    """Return what a name of types with parameters stands for; from numpy 2.5 NDArray is one."""
    named = getattr(get_origin(kind), "__value__", None)
    return kind if named is None else named[get_args(kind)]


def _is_number(value: Any, *kinds: type) -> bool:
    try:
        return isinstance(value, kinds) and not isinstance(value, bool) and not math.isnan(value)
    except OverflowError:  # too large for float64
        return False


def _is_array(value: Any) -> bool:
    """Whether it is an array, or a nested list, of numbers or of truth values."""
    try:
        kind = np.asarray(value).dtype.kind
    except Exception:  # noqa: BLE001  whatever a foreign object raises
        return False
    return kind == "b" or (kind in "iuf" and not has_bool(value))


def _fits_each(value: Any, kinds: list[Any]) -> bool:
    """Whether these are values of one kind, or of a kind for each; a text is one value."""
    if isinstance(value, str | bytes | dict | Iterator):
        return isinstance(value, Iterator)  # which can be read once
    if len(kinds) > 1:
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    return all(_fits(each, kinds[0]) for each in value)
