"""Recipes by name, as data. Their numbers were chosen on training images; see the docs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qnn_train.errors import TrainingError
from qnn_train.training.recipe import ProximalRecipe

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRESETS", "default_preset", "preset"]

PAIRS = ProximalRecipe(sweeps=6, round_trips=200)
TEN = ProximalRecipe(
    grid=7,
    hidden=16,
    readout="trained",
    activation="relu",
    clip=16.0,
    bias_bits=5,
    bias_reach=6.0,
    output_bias_bits=5,
    output_bias_reach=1.0,
    sweeps=30,
    batch=(1500, 24_000),
    width=(0.8, 0.5),
    ladder=(0.1, 0.5, 2.0),
    block_spins=144,
    block_reads=17,
    n_runs=16,
    tried=16,
    round_trips=100,
    settings=(("coupling_gain", 4.0), ("field_weight", 1.0)),
)

FEW = replace(PAIRS, mirror=True, shift=1)
TINY = replace(PAIRS, grid=2, hidden=2, weights="ternary", bias_bits=3, starts=6, judge_by="errors")

PRESETS: Mapping[str, ProximalRecipe] = {
    "pairs-4x4": PAIRS,
    "pairs-7x7": replace(TEN, sweeps=60),
    "few-4x4": FEW,
    "tiny-2x2": TINY,
    "ten-classes-7x7": TEN,
    "ten-digits-8x8": replace(TEN, grid=8, sweeps=16),
}


def preset(name: str) -> ProximalRecipe:
    """Return a recipe.

    Raises
    ------
    TrainingError
        No recipe goes by that name.
    """
    if name not in PRESETS:
        raise TrainingError(f"no recipe {name!r}", hint=", ".join(PRESETS))
    return PRESETS[name]


def default_preset(dataset: str, n_classes: int) -> str:
    """Return the name of the recipe for classes of a dataset, where none is named."""
    if n_classes == 2:
        return "pairs-4x4"
    return "ten-digits-8x8" if dataset == "digits" else "ten-classes-7x7"
