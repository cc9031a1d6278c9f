"""``qnn-train qcbo``: one program with constraints for all images, whole or in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cim_hal.option_types import COUNT, Lowering
from qnn_train.cli.options import (
    RunOptions,
    data_options,
    network_options,
    option,
    output_options,
    samples,
)
from qnn_train.method_names import MACHINE, ON_ALL, ON_PARTS, QCBO_METHODS

if TYPE_CHECKING:
    from qnn_train.training.recipe import Recipe

__all__ = ["DEVICE", "qcbo"]

DEVICE = "emulator-550"
SCORE = (
    "Compare networks on the whole training split of the two classes, or on the images in the "
    "program only."
)
LEVELS = (
    "Steps of an input a standard deviation of its cell's brightness, up to two deviations; "
    "without it inputs are signs."
)
LOWERING = "How problems are brought to the bits of a coupling, see cim-hal sample."
LINES = "\n".join(f"  {name:<12}{about}" for name, about in QCBO_METHODS.items())


@click.command("qcbo", epilog=f"\n\b\nMethods:\n{LINES}")
@data_options
@option("method", click.Choice(list(QCBO_METHODS)), "See below.", "qcgd")
@option("train-samples", samples, "Images in the program.", 20, metavar="N|ALL")
@network_options(
    grid=4,
    hidden=3,
    readout="majority",
    weights="binary",
    bias_bits=2,
    seed=0,
    oracle="machine",
    runs=64,
)
@option("levels", COUNT, LEVELS, metavar="N")
@option("iterations", COUNT, "Oracle calls.", 25)
@option("batch", COUNT, "Images of a part, for dlbo and qph.", 5)
@click.option(
    "--pack", is_flag=True, default=None, help="Put several parts into one task of the machine."
)
@option("lowering", Lowering(), LOWERING, "max")
@option("score", click.Choice(["train", "subset"]), SCORE, "train")
@output_options(DEVICE)
def qcbo(**options: Any) -> None:
    """Train on a few images by a quadratic program with constraints (QCBO).

    The program is solved by quantum conditional gradient descent (arXiv:2506.18240) or another
    method, with an Ising machine as oracle. It tells two classes apart.

    \b
    Examples:
      qnn-train qcbo --classes 3,6
      qnn-train qcbo --method penalty --iterations 50 --seed 2
      qnn-train qcbo --device tcp://cim.lab:5555 --coupling-bits 8 --out runs/lab
    """  # noqa: D301
    from qnn_train.cli.train import carry_out

    run, changes = RunOptions.split(options)
    method = changes.get("method", "qcgd")
    if not run.resume:
        _check(run, method, changes)
    carry_out(run, changes, _recipe, default_device=DEVICE)


def _check(run: RunOptions, method: str, changes: dict[str, Any]) -> None:
    """Refuse what this family of methods cannot do.

    Raises
    ------
    click.UsageError
        Says what to do instead.
    """
    if run.classes == "all" or (run.classes and len(run.classes) != 2):
        raise click.UsageError(f"--method {method} tells two classes apart; say qnn-train proximal")
    if changes.get("train_samples") == "all" and method not in ON_ALL:
        raise click.UsageError(
            f"--method {method} takes a number of images; "
            f"say --method {ON_ALL[0]} or qnn-train proximal"
        )
    if method == "random" and (changes.get("polish") or changes.get("oracle", MACHINE) != MACHINE):
        raise click.UsageError("--method random asks no oracle; leave out --oracle and --polish")
    for name in ("batch", "pack"):
        if name in changes and method not in ON_PARTS:
            *most, last = ON_PARTS
            raise click.UsageError(
                f"--{name} belongs to methods on parts: {', '.join(most)} or {last}"
            )


def _recipe(dataset: str, n_classes: int, changes: dict[str, Any]) -> Recipe:  # noqa: ARG001
    from qnn_train.training.recipe import Recipe

    if changes.get("train_samples") == "all":
        changes["train_samples"] = None
    return Recipe(**changes)
