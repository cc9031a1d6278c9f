"""``qnn-train export``: a saved model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cim_hal.option_types import FILE, OutputFile
from qnn_train.cli.own_data import refused

if TYPE_CHECKING:
    from qnn_train.model.trained import TrainedModel

__all__ = ["export"]


@click.command("export")
@click.argument("model", type=FILE)
@click.argument("out", type=OutputFile(".onnx", ".qonnx", ".npz"))
def export(model: Path, out: Path) -> None:
    """Write a model as ONNX, QONNX or plain arrays of integers; the suffix of OUT says which.

    Models of tables take the features in the order that is printed: categories are 0 and 1, each a
    feature of its own. ONNX of a model of images takes the images, the others their cells, row by
    row. QONNX says how many bits each number has and is for FPGAs (qonnx, hls4ml, FINN): it takes
    one row of integer features and returns margins. The .npz holds weights0, biases0, knots0,
    intercepts0, slopes0 and so on for each layer, with an axis of the networks that answer
    together, and what makes integers of features: means, deviations, levels and cut, or thresholds.

    \b
    Examples:
      qnn-train export runs/iris-species-seed0/model.npz iris.onnx
      qnn-train export model.npz integers.npz
      qnn-train export model.npz iris.qonnx
      qnn-train export runs/digits-3-6-seed0/model.npz digits.onnx
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.cli.train import written
    from qnn_train.model.onnx import save_onnx
    from qnn_train.model.qonnx import save_qonnx
    from qnn_train.model.trained import TrainedModel, load_model

    if out.exists() and out.samefile(model):
        raise click.UsageError(f"{out} is the model")
    with refused():
        network = load_model(model)
        with written(out):
            if out.suffix == ".npz":
                network.save_plain(out)
            else:
                {".onnx": save_onnx, ".qonnx": save_qonnx}[out.suffix](network, out)
    say(f"written: {out}")
    if isinstance(network, TrainedModel):
        say(_of_images(network, is_onnx=out.suffix == ".onnx"))
    elif network.table is not None:
        say("features, in this order:", *(f"  {name}" for name in network.table.features))


def _of_images(model: TrainedModel, *, is_onnx: bool) -> str:
    side, cells = model.features.side, model.features.grid
    if is_onnx:
        return f"input: images of {side}x{side} pixels, as {model.dataset} has them"
    return f"input: integers of the cells of an image, {cells}x{cells}, row by row"
