"""The command group ``qnn-train``."""

from __future__ import annotations

import click

from cim_hal.console import LazyGroup

__all__ = ["program"]

DEFAULT = "qcbo"
COMMANDS = {
    "compare": (
        "qnn_train.cli.compare:compare",
        "Compare a quantized network with other methods on a table of your own.",
    ),
    "evaluate": (
        "qnn_train.cli.evaluate:evaluate",
        "Measure a model that `qnn-train fit` has saved on a table with right answers.",
    ),
    "export": (
        "qnn_train.cli.export:export",
        "Write a model as ONNX, QONNX or plain arrays of integers; the suffix of OUT says which.",
    ),
    "inspect": (
        "qnn_train.cli.inspect:inspect",
        "Say what a saved model is: its layers in bits and products, its features, its training.",
    ),
    "fit": (
        "qnn_train.cli.fit:fit",
        "Train a network on a table of your own: classes, or real numbers.",
    ),
    "predict": (
        "qnn_train.cli.predict:predict",
        "Answer the rows of a table with a model that `qnn-train fit` has saved.",
    ),
    "proximal": (
        "qnn_train.cli.proximal:proximal",
        "All images of two or more classes, block by block.",
    ),
    "qcbo": (
        "qnn_train.cli.qcbo:qcbo",
        "Few images of two classes, in a program with constraints.",
    ),
}


class Methods(LazyGroup):
    """Families of methods as commands; options without a command are those of `DEFAULT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, and the options of the default one."""
        super().format_commands(ctx, formatter)
        command = self.get_command(ctx, DEFAULT)
        if command is None:
            return
        records = [option.get_help_record(ctx) for option in command.get_params(ctx)]
        with formatter.section(f"Options without a command, those of {DEFAULT}"):
            formatter.write_dl(
                [record for record in records if record and "--help" not in record[0]]
            )
        if command.epilog:
            formatter.write_paragraph()
            formatter.write_text(command.epilog)


@click.group(
    "qnn-train",
    cls=Methods,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def program() -> None:
    """Train a quantized neural network to tell classes of images apart.

    With few images the training is a quadratic program with constraints, solved by quantum
    conditional gradient descent (arXiv:2506.18240) with an Ising machine as oracle. With all images
    it goes block by block, and the machine minimizes the loss to second order in the bits of each.
    Without arguments the machine is emulated, in a process of its own behind ZeroMQ.

    \b
    Examples:
      qnn-train
          digits 3 or 6, on an emulated machine in a process of its own
      qnn-train --dataset fashion-mnist --data-dir DIR --classes 4,5
          coat or sandal, 20 images in one program
      qnn-train proximal --dataset fashion-mnist --classes 0,6
          T-shirt or shirt, all 12,000 images, block by block
      qnn-train proximal --dataset fashion-mnist --classes all --weights ternary
          all ten classes and 60,000 images
      qnn-train fit iris.csv --target species
          a table of your own; then predict, evaluate, compare, inspect and export
      qnn-train --device tcp://cim.lab:5555 --coupling-bits 8
          on a machine behind a server
      qnn-train --method qph --batch 5 --pack
          progressive hedging, several parts in one task of the machine
    """  # noqa: D301  \b is click's mark for text it must not rewrap
