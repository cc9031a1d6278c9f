"""``qnn-train proximal``: all images, block by block."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from qnn_train.cli.options import (
    RunOptions,
    Samples,
    add_options,
    data_options,
    network_options,
    output_options,
)
from qnn_train.cli.train import carry_out
from qnn_train.network.spline import ACTIVATIONS
from qnn_train.training.recipe import PRESETS, default_preset, preset

if TYPE_CHECKING:
    from qnn_train.training.recipe import ProximalRecipe

__all__ = ["DEVICE", "proximal"]

DEVICE = "emulator-dsb"
DESCENT = add_options(
    click.option("--activation", type=click.Choice(list(ACTIVATIONS)), help="Of hidden neurons."),
    click.option(
        "--clip", type=click.FloatRange(0, min_open=True), help="Where it saturates, in σ."
    ),
    click.option("--output-bias-bits", type=click.IntRange(0, 8), help="Bits of each last bias."),
    click.option("--sweeps", type=click.IntRange(1), help="Visits of every block."),
    click.option("--starts", type=click.IntRange(1), help="Descents, of which the best counts."),
    click.option("--block-spins", type=click.IntRange(1), help="Largest block."),
    click.option(
        "--validation",
        type=click.FloatRange(0, 1, max_open=True),
        help="Share kept apart to judge by.",
    ),
    click.option(
        "--patience", type=click.IntRange(0), help="Sweeps without gain; 0 for all sweeps."
    ),
    click.option("--round-trips", type=click.IntRange(1), help="Of a run of the machine."),
)


@click.command("proximal")
@data_options
@click.option(
    "--recipe",
    type=click.Choice(list(PRESETS)),
    help="Defaults of all options below.  [default: one that fits the classes]",
)
@click.option("--train-samples", type=Samples(), help="Images to learn from.  [default: all]")
@network_options({})
@DESCENT
@output_options(DEVICE)
def proximal(**options: Any) -> None:
    """Train on all images of two or more classes by proximal block descent.

    Block by block, the machine minimizes the loss to second order in the bits of the block.
    Options take the place of numbers of the recipe.
    """
    run, changes = RunOptions.split(options)
    carry_out(run, changes, _recipe, default_device=DEVICE)


def _recipe(dataset: str, n_classes: int, changes: dict[str, Any]) -> ProximalRecipe:
    """Return the named recipe, with the numbers that were given in the place of its own."""
    name = changes.pop("recipe", None) or default_preset(dataset, n_classes)
    if changes.get("train_samples") == "all":
        changes["train_samples"] = None
    return replace(preset(name), **changes)
