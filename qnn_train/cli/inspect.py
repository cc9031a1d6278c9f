"""``qnn-train inspect``: what a saved model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.option_types import FILE
from cim_hal.text import counted
from qnn_train.cli.evaluate import aligned, write_numbers
from qnn_train.cli.own_data import json_option, refused
from qnn_train.method_names import ORACLES

if TYPE_CHECKING:
    from qnn_train.model.integer import IntegerModel
    from qnn_train.model.trained import TrainedModel
    from qnn_train.network import QuantizedNetwork
    from qnn_train.network.intervals import Grid

__all__ = ["inspect"]


@click.command("inspect")
@click.argument("model", type=FILE)
@json_option
def inspect(model: Path, json_file: Path | None) -> None:
    """Say what a saved model is: its layers in bits and products, its features, its training.

    Models of all commands and estimators are read: those of tables and those of images.

    \b
    Examples:
      qnn-train inspect runs/iris-species-seed0/model.npz
      qnn-train inspect runs/digits-3-6-seed0/model.npz
      qnn-train inspect model.npz --json -
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.model.trained import TrainedModel, load_model

    with refused():
        found = load_model(model)
    about = _of_images(found) if isinstance(found, TrainedModel) else _of_table(found)
    about["bytes"] = model.stat().st_size
    write_numbers(about, json_file)
    if str(json_file) != "-":
        say(*_lines(about))


def _of_table(model: IntegerModel) -> dict[str, Any]:
    classes = getattr(model, "classes", None)  # a regressor has none
    return {
        **_about(model.KIND, model.networks, model.n_networks, model.inputs),
        "oracle": model.oracle,
        "levels": model.grid.levels,
        "cut": model.grid.cut,
        "classes": None if classes is None else classes.tolist(),
        "table": None if model.table is None else model.table.model_dump(),
    }


def _of_images(model: TrainedModel) -> dict[str, Any]:
    steps = getattr(model.features, "steps", None)  # signs have none
    return {
        **_about("images", model.network, 1, model.inputs),
        "oracle": model.oracle,
        "levels": steps and steps.levels,
        "cut": steps and steps.cut,
        "classes": list(model.class_names),
        "dataset": model.dataset,
        "cells": model.features.grid,
    }


def _about(kind: str, networks: QuantizedNetwork, n_networks: int, inputs: Grid) -> dict[str, Any]:
    """Return what all kinds of models have in common; `inputs` is what an input can be."""
    from qnn_train.model.qonnx import signed_bits, sums

    architecture = networks.architecture
    hidden, reached = len(architecture.hidden), sums(architecture, inputs)
    layers = [
        {
            "inputs": layer.inputs,
            "outputs": layer.outputs,
            "weights": layer.weights.name,
            "biases": layer.biases.name,
            "then": layer.activation.name if index < hidden else "margin",
            "bits": layer.n_bits,
            "products": layer.inputs * layer.outputs,
            "sum_bits": signed_bits(reached[index]),
        }
        for index, layer in enumerate(architecture.layers)
    ]
    return {
        "kind": kind,
        "network": str(architecture),
        "networks": n_networks,
        "bits": n_networks * architecture.n_bits,
        "bits_per_parameter": n_networks * architecture.bits_per_parameter,
        "layers": layers,
    }


def _lines(about: dict[str, Any]) -> list[str]:
    from qnn_train.cli.train import two_columns

    rows = [("kind", about["kind"])]
    if about["classes"] is not None:
        rows.append(("classes", _some(list(map(str, about["classes"])))))
    each = f"{about['bits_per_parameter']:.2f} bits per parameter"
    more = f", {counted(about['networks'], 'network')} that answer together" * (
        about["networks"] > 1
    )
    rows += [
        ("oracle", ORACLES.get(about["oracle"], about["oracle"])),
        ("network", f"{about['network']}, {counted(about['bits'], 'bit')}, {each}{more}"),
        ("features", _features(about)),
        ("file", f"{about['bytes']} bytes"),
    ]
    if "dataset" in about:
        rows.append(("data", about["dataset"]))
    elif about["table"] is None:
        rows.append(("table", "unknown: an estimator saved it"))
    else:
        rows += _table_rows(about["table"])
    cells = [list(about["layers"][0]), *([*map(str, e.values())] for e in about["layers"])]
    return [*two_columns(rows), "", *aligned(cells)]


def _features(about: dict[str, Any]) -> str:
    grid = f"{about['cells']}x{about['cells']} cells of an image: " if "cells" in about else ""
    if about["levels"] is None:
        return f"{grid}brighter or darker than a threshold"
    return f"{grid}{counted(about['levels'], 'level')} a deviation, up to {about['cut']} deviations"


def _table_rows(table: dict[str, Any]) -> list[tuple[str, str]]:
    """Return target, columns, and what trained the model."""
    columns = [
        each["name"] if each["kind"] == "number" else f"{each['name']} ({_kind(each)})"
        for each in table["columns"]
    ]
    gaps = "the training mean" if table["fills_missing"] else "refused"
    rows = [
        ("target", f"{table['target']} ({table['task']})"),
        ("columns", f"{len(columns)}: {_some(columns)}"),
        ("missing", gaps),
    ]
    done = table["training"]
    if done is None:
        return rows
    test = "" if done["test_score"] is None else f", test {done['test_score']:.3f}"
    return [
        *rows,
        ("trained", f"{done['date']} on {counted(done['n_train'], 'row')} of {done['data']}"),
        ("by", f"{done['method']}, cim-hal {done['version']}, seed {done['seed']}"),
        (
            "machine",
            (
                f"{done['device']}, {counted(done['calls'], 'call')}"
                f" of {counted(done['runs_per_call'], 'run')}"
            ),
        ),
        (
            "score",
            f"train {done['train_score']:.3f}{test}, of {counted(done['n_test'], 'test row')}",
        ),
    ]


def _kind(column: dict[str, Any]) -> str:
    count = len(column["categories"])
    return counted(count, "category") if count else column["kind"]


def _some(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
