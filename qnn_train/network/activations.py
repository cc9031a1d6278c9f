"""Activations by name, for commands and files of recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnn_train.errors import AssemblyError
from qnn_train.network.spline import Spline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ACTIVATIONS", "activation_named"]

PIECES = 15

ACTIVATIONS: Mapping[str, Callable[[int], Spline]] = {
    "hard_tanh": Spline.hard_tanh,
    "leaky_relu": lambda _: Spline.leaky_relu(),
    "relu": lambda _: Spline.relu(),
    "sigmoid": lambda limit: Spline.sigmoid(PIECES, scale=max(1, limit // 2), levels=limit),
    "sign": lambda _: Spline.sign(),
    "tanh": lambda limit: Spline.tanh(PIECES, scale=limit, levels=limit),
}


def activation_named(name: str, *, limit: int) -> Spline:
    """Return an activation of integers.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.
    limit : int
        The sum at which it saturates and its largest value, where it does saturate slowly.

    Raises
    ------
    AssemblyError
        No such activation, or a limit below 1.
    """
    if name not in ACTIVATIONS:
        raise AssemblyError(f"no activation {name!r}", hint=", ".join(ACTIVATIONS))
    if limit < 1:
        raise AssemblyError(f"an activation that saturates at {limit}", hint="1 or more")
    return ACTIVATIONS[name](limit)
