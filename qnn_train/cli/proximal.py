"""``qnn-train proximal``: all images, block by block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from cim_hal.option_types import COUNT, MAX_COUNT, Real
from qnn_train.cli.options import (
    RunOptions,
    add_options,
    data_options,
    network_options,
    option,
    output_options,
    samples,
)
from qnn_train.cli.train import carry_out
from qnn_train.network.spline import ACTIVATIONS
from qnn_train.training.recipe import PRESETS, ProximalRecipe, default_preset, preset

__all__ = ["DEVICE", "proximal"]

DEVICE = "emulator-dsb"
DESCENT = add_options(
    option("activation", click.Choice(list(ACTIVATIONS)), "Of hidden neurons."),
    option("clip", Real(0, 1e6, above=True), "Where it saturates, in σ."),
    option("output-bias-bits", click.IntRange(0, 8), "Bits of each last bias."),
    option("sweeps", COUNT, "Visits of every block."),
    option("starts", COUNT, "Descents, of which the best counts."),
    option("block-spins", COUNT, "Largest block."),
    option("validation", Real(0, 1, below=True), "Share kept apart to judge by."),
    option("patience", click.IntRange(0, MAX_COUNT), "Sweeps without gain; 0 for all sweeps."),
    option("round-trips", COUNT, "Of a run of the machine."),
)
NAMED = "one that fits the classes"


@click.command("proximal")
@data_options
@option("recipe", click.Choice(list(PRESETS)), "Defaults of all options below.", NAMED)
@option("train-samples", samples, "Images to learn from.", "all", metavar="N|ALL")
@network_options()
@DESCENT
@output_options(DEVICE)
def proximal(**options: Any) -> None:
    """Train on all images of two or more classes by proximal block descent.

    Block by block, the machine minimizes the loss to second order in the bits of the block.
    Options take the place of numbers of the recipe.

    \b
    Examples:
      qnn-train proximal --classes all
      qnn-train proximal --dataset fashion-mnist --data-dir DIR --classes 0,6 --weights ternary
      qnn-train proximal --classes 1,7 --device tcp://cim.lab:5555
    """  # noqa: D301
    run, changes = RunOptions.split(options)
    carry_out(run, changes, _recipe, default_device=DEVICE)


def _recipe(dataset: str, n_classes: int, changes: dict[str, Any]) -> ProximalRecipe:
    """Return the named recipe, with the numbers that were given in the place of its own."""
    name = changes.pop("recipe", None) or default_preset(dataset, n_classes)
    if changes.get("train_samples") == "all":
        changes["train_samples"] = None
    return replace(preset(name), **changes)
