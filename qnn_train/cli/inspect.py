"""``qnn-train inspect``: what a saved model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cim_hal.option_types import FILE
from qnn_train.cli.evaluate import aligned, write_numbers
from qnn_train.cli.own_data import json_option, refused
from qnn_train.method_names import ORACLES

__all__ = ["inspect"]


@click.command("inspect")
@click.argument("model", type=FILE)
@json_option
def inspect(model: Path, json_file: Path | None) -> None:
    """Say what a model of `qnn-train fit` or of an estimator is: layers, columns, its training.

    \b
    Examples:
      qnn-train inspect runs/iris-species-seed0/model.npz
      qnn-train inspect model.npz --json -
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.model.integer import load_integers

    with refused():
        network = load_integers(model)
    about = _about(network, model)
    write_numbers(about, json_file)
    if str(json_file) != "-":
        say(*_lines(about))


def _about(network: Any, path: Path) -> dict[str, Any]:
    from qnn_train.model.qonnx import signed_bits, sums

    architecture, table = network.networks.architecture, network.table
    hidden, reached = len(architecture.hidden), sums(network)
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
        "kind": network.KIND,
        "network": str(architecture),
        "networks": network.n_networks,
        "bits": network.n_networks * architecture.n_bits,
        "bits_per_parameter": network.n_networks * architecture.bits_per_parameter,
        "oracle": network.oracle,
        "bytes": path.stat().st_size,
        "levels": network.grid.levels,
        "cut": network.grid.cut,
        "classes": network.classes.tolist() if network.KIND == "classifier" else None,
        "layers": layers,
        "table": None if table is None else table.model_dump(),
    }


def _lines(about: dict[str, Any]) -> list[str]:
    from qnn_train.cli.train import two_columns

    classes, table = about["classes"], about["table"]
    rows = [("kind", about["kind"])]
    if classes is not None:
        rows.append(("classes", _some(list(map(str, classes)))))
    each = f"{about['bits_per_parameter']:.2f} bits per parameter"
    more = f", {about['networks']} networks that answer together" * (about["networks"] > 1)
    rows += [
        ("oracle", ORACLES.get(about["oracle"], about["oracle"])),
        ("network", f"{about['network']}, {about['bits']} bits, {each}{more}"),
        ("features", f"{about['levels']} levels a deviation, up to {about['cut']} deviations"),
        ("file", f"{about['bytes']} bytes"),
    ]
    rows += [("table", "unknown: an estimator saved it")] if table is None else _table_rows(table)
    cells = [list(about["layers"][0]), *([*map(str, e.values())] for e in about["layers"])]
    return [*two_columns(rows), "", *aligned(cells)]


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
        ("trained", f"{done['date']} on {done['n_train']} rows of {done['data']}"),
        ("by", f"{done['method']}, cim-hal {done['version']}, seed {done['seed']}"),
        ("machine", f"{done['device']}, {done['calls']} calls of {done['runs_per_call']} runs"),
        ("score", f"train {done['train_score']:.3f}{test}, of {done['n_test']} test rows"),
    ]


def _kind(column: dict[str, Any]) -> str:
    count = len(column["categories"])
    return f"{count} categories" if count else column["kind"]


def _some(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
