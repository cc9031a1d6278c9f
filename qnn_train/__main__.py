"""The command ``qnn-train``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.console import run as run_command
from qnn_train.cli.carry import load_checkpoint
from qnn_train.cli.options import Classes, Samples, Sizes, given, option, refuse
from qnn_train.cli.output import MachineOptions
from qnn_train.cli.program import describe_program, train_program
from qnn_train.cli.scale import describe_scale, train_scale
from qnn_train.data import load_digits, load_fashion_mnist
from qnn_train.data.fashion_mnist import data_directory, download
from qnn_train.errors import TrainingError
from qnn_train.network.spline import ACTIVATIONS
from qnn_train.training import PRESETS, Checkpoint, ProximalProblem, default_preset, preset
from qnn_train.training.methods import METHODS
from qnn_train.training.recipe import Recipe, prepare

if TYPE_CHECKING:
    from qnn_train.data import Dataset
    from qnn_train.training import ProximalRecipe
    from qnn_train.training.checkpoint import ProgramCheckpoint

__all__ = ["main", "program"]

DEFAULT_CLASSES = {"digits": (3, 6), "fashion-mnist": (4, 5)}
EXAMPLES = """
\b
Examples:
  qnn-train
      digits 3 or 6, on an emulated machine in a process of its own
  qnn-train --dataset fashion-mnist --data-dir DIR --classes 4,5
      coat or sandal, 20 images in one program
  qnn-train --dataset fashion-mnist --classes 0,6 --train-samples all
      T-shirt or shirt, all 12,000 images, block by block
  qnn-train --dataset fashion-mnist --classes all --weights ternary
      all ten classes and 60,000 images
  qnn-train --device tcp://cim.lab:5555 --coupling-bits 8
      on a machine behind a server
  qnn-train --method qph --batch 5 --pack
      progressive hedging, several parts in one task of the machine
"""
_ABOUT = {name: method.about for name, method in METHODS.items()} | {
    "proximal": "all images block by block, the loss to second order in each"
}
_LINES = "\n".join(f"  {name:<10}{about}" for name, about in _ABOUT.items())
EPILOG = f"\n\b\nMethods:\n{_LINES}\n{EXAMPLES}"
PARTS = tuple(name for name, method in METHODS.items() if method.batch is not None)
# Options that only programs or only proximal know, and those that all share.
ONLY_PROGRAM = ("iterations", "score", "batch", "pack")
ONLY_PROXIMAL = (
    "recipe", "activation", "clip", "output_bias_bits", "sweeps", "starts", "block_spins",
    "validation", "patience", "round_trips",
)  # fmt: skip
SHARED = ("grid", "hidden", "readout", "weights", "bias_bits", "seed")
# What a checkpoint has decided; of a program, more or fewer calls may be made.
RESUMED = (
    "method", "train_samples", "runs", "classes", "dataset", "coupling_bits", *SHARED,
    *ONLY_PROXIMAL, *set(ONLY_PROGRAM) - {"iterations"},
)  # fmt: skip
DEVICES = {"proximal": "emulator-dsb"} | dict.fromkeys(METHODS, "emulator-550")


@click.command(
    "qnn-train",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
@option("--dataset", click.Choice(list(DEFAULT_CLASSES)), "digits", "Images to learn from.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the Fashion-MNIST files.  [default: $QNN_DATA_DIR or ~/.cache/cim-hal]",
)
@click.option("--download", "fetch", is_flag=True, help="Fetch missing Fashion-MNIST files first.")
@click.option(
    "--method",
    type=click.Choice([*METHODS, "proximal"]),
    help="See below: one program with constraints, or all images block by block.  [default: "
    "proximal where a recipe, all images or more than two classes are asked for, else qcgd]",
)
@click.option(
    "--recipe",
    type=click.Choice(list(PRESETS)),
    help="Defaults of all options below, for proximal.  [default: one that fits the classes]",
)
@click.option(
    "--classes", type=Classes(), help="Classes.  [default: digits 3,6; fashion-mnist 4,5]"
)
@click.option(
    "--train-samples", type=Samples(), help="Images to learn from.  [default: 20, proximal all]"
)
@option("--grid", click.IntRange(1), 4, "Cells along a side: the network has grid² inputs.")
@option("--hidden", Sizes(), 3, "Hidden neurons, of several layers as in 8,4; 0 for none.")
@option("--readout", click.Choice(["majority", "trained"]), "majority", "After the hidden layer.")
@option("--weights", str, "binary", "binary, ternary, or 2bit to 8bit.")
@option("--bias-bits", click.IntRange(0, 8), 2, "Bits of each bias.")
@option("--iterations", click.IntRange(1), 25, "Oracle calls.")
@option("--batch", click.IntRange(1), 5, "Images of a part, for dlbo and qph.")
@click.option("--pack", is_flag=True, help="Put several parts into one task of the machine.")
@option("--runs", click.IntRange(1), 64, "Runs of the machine in each call.")
@click.option("--activation", type=click.Choice(list(ACTIVATIONS)), help="Of hidden neurons.")
@click.option("--clip", type=click.FloatRange(0, min_open=True), help="Where it saturates, in σ.")
@click.option("--output-bias-bits", type=click.IntRange(0, 8), help="Bits of each last bias.")
@click.option("--sweeps", type=click.IntRange(1), help="Visits of every block.")
@click.option("--starts", type=click.IntRange(1), help="Descents, of which the best counts.")
@click.option("--block-spins", type=click.IntRange(1), help="Largest block.")
@click.option(
    "--validation", type=click.FloatRange(0, 1, max_open=True), help="Share kept to judge by."
)
@click.option("--patience", type=click.IntRange(0), help="Sweeps without gain; 0 for all sweeps.")
@click.option("--round-trips", type=click.IntRange(1), help="Of a run of the machine.")
@click.option(
    "--device",
    multiple=True,
    help="Driver name (started in a process) or tcp://, ipc://; given several times, jobs go to "
    "whichever machine is free.  [default: emulator-550, proximal emulator-dsb]",
)
@option("--machines", click.IntRange(1, 64), 1, "Processes of a named driver, used as a pool.")
@click.option(
    "--coupling-bits", type=click.IntRange(2, 16), help="Bits of a coupling.  [default: machine's]"
)
@option(
    "--score",
    click.Choice(["train", "subset"]),
    "train",
    "Compare networks on the whole training split of the two classes, or on the images in the "
    "program only.",
)
@option("--seed", click.IntRange(0), 0, "Of images and machine; the same seed, the same result.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for model, report and picture.  [default: runs/DATASET-CLASSES-seedSEED]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write the report here too; - is stdout.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to leave a checkpoint while training.  [default: OUT/checkpoint.npz, until done]",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Go on from a checkpoint, as if there had been no stop.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def program(context: click.Context, **options: Any) -> None:
    """Train a quantized neural network to tell classes of images apart.

    With few images the training is a quadratic program with constraints, solved by quantum
    conditional gradient descent (arXiv:2506.18240) with an Ising machine as oracle. With all images
    it goes block by block, and the machine minimizes the loss to second order in the bits of each.
    Without arguments the machine is emulated, in a process of its own behind ZeroMQ.
    """
    try:
        if options["resume"]:
            refuse(context, RESUMED, "cannot change what is resumed")
            options |= _resumed(context, load_checkpoint(options["resume"]))
        method = _method(options)
        devices = options["device"] or (DEVICES[method],)
        options["machines"] = MachineOptions(devices, options["machines"])
        if method == "proximal":
            refuse(context, ONLY_PROGRAM, "belongs to other methods than proximal; say --sweeps")
            _proximal(context, options)
        else:
            refuse(context, ONLY_PROXIMAL, "belongs to --method proximal")
            if method not in PARTS:
                refuse(context, ("batch", "pack"), f"belongs to methods on parts: {_either(PARTS)}")
            _program(method, options)
    except TrainingError as error:
        raise click.UsageError(str(error)) from None


def main() -> None:
    """Run the command."""
    sys.exit(run_command(program))


def _method(options: dict[str, Any]) -> str:
    """Return the method that was asked for, or the one that suits."""
    if options["method"]:
        return options["method"]
    classes = options["classes"]
    many = classes == "all" or (classes is not None and len(classes) > 2)
    asked = options["recipe"] or options["train_samples"] == "all"
    return "proximal" if many or asked else "qcgd"


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _program(method: str, options: dict[str, Any]) -> None:
    classes = options["classes"] or DEFAULT_CLASSES[options["dataset"]]
    if classes == "all" or len(classes) != 2:
        raise click.UsageError(f"--method {method} tells two classes apart; say --method proximal")
    if options["train_samples"] == "all":
        raise click.UsageError(f"--method {method} takes a number of images; say --method proximal")
    resume: ProgramCheckpoint | None = options["resume"]
    recipe = resume.recipe if resume else _program_recipe(options)
    preparation = prepare(recipe, _load(options).select(classes))
    names = ("machines", "iterations", "runs", "batch")
    shared: dict[str, Any] = {name: options[name] for name in names} | {"method": method}
    if options["dry_run"]:
        click.echo(describe_program(preparation, **shared))
        return
    names = ("pack", "coupling_bits", "resume", "checkpoint", "out", "json_file", "quiet")
    outputs = {name: options[name] for name in names}
    train_program(preparation, **shared, **outputs)


def _program_recipe(options: dict[str, Any]) -> Recipe:
    return Recipe(
        train_samples=options["train_samples"] or 20,
        score=options["score"],
        **{name: options[name] for name in SHARED},
    )


def _proximal(context: click.Context, options: dict[str, Any]) -> None:
    resume: Checkpoint | None = options["resume"]
    dataset = _load(options)
    classes = options["classes"] or DEFAULT_CLASSES[dataset.name]
    selection = dataset.select(None if classes == "all" else classes)
    recipe = resume.recipe if resume else _recipe(context, dataset, len(selection.classes))
    problem = ProximalProblem.of(recipe, selection)
    if options["dry_run"]:
        click.echo(describe_scale(problem, machines=options["machines"]))
        return
    names = ("machines", "coupling_bits", "resume", "checkpoint", "out", "json_file", "quiet")
    train_scale(problem, **{name: options[name] for name in names})


def _resumed(context: click.Context, resume: Checkpoint | ProgramCheckpoint) -> dict[str, Any]:
    """Return what a checkpoint has decided."""
    options = context.params
    found: dict[str, Any] = {
        "resume": resume,
        "dataset": resume.dataset,
        "classes": resume.classes,
        "checkpoint": options["checkpoint"] or options["resume"],
    }
    if isinstance(resume, Checkpoint):
        found |= {"method": "proximal", "coupling_bits": resume.coupling_bits}
        return found | {"device": options["device"] or (resume.device,)}
    solving = resume.solving
    found |= {name: getattr(solving, name) for name in ("method", "coupling_bits", "batch", "pack")}
    if not given(context, ["iterations"]):
        found["iterations"] = resume.iterations
    return found | {"runs": solving.n_runs, "device": options["device"] or (solving.device,)}


def _recipe(context: click.Context, dataset: Dataset, n_classes: int) -> ProximalRecipe:
    """Return the named recipe, with the options that were given in the place of its own."""
    name = context.params["recipe"] or default_preset(dataset.name, n_classes)
    changes = given(context, (*ONLY_PROXIMAL[1:], *SHARED, "train_samples"))
    if changes.get("train_samples") == "all":
        changes["train_samples"] = None
    if "runs" in given(context, ["runs"]):
        changes["n_runs"] = context.params["runs"]
    return replace(preset(name), **changes)


def _load(options: dict[str, Any]) -> Dataset:
    if options["dataset"] == "digits":
        return load_digits()
    directory = data_directory(options["data_dir"])
    if options["fetch"]:
        download(directory)
    return load_fashion_mnist(directory)


if __name__ == "__main__":
    main()
