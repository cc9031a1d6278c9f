"""``qnn-train predict``: answers of a saved model to new rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.option_types import FILE, OutputFile
from qnn_train.cli.own_data import refused

if TYPE_CHECKING:
    from qnn_train.arrays import Array

__all__ = ["loaded", "predict"]


@click.command("predict")
@click.argument("model", type=FILE)
@click.argument("data", type=FILE)
@click.option(
    "--out",
    type=OutputFile(".csv", ".npz"),
    help="Write the answers here, .csv or .npz.  [default: CSV on stdout]",
)
@click.option("--quiet", is_flag=True, help="Do not say which columns are ignored.")
def predict(model: Path, data: Path, out: Path | None, *, quiet: bool) -> None:
    """Answer the rows of a table with a model that `qnn-train fit` has saved.

    Columns are found by their names, in any order. What the model needs must be there; other
    columns are ignored, and named on stderr. For classes each row has the predicted one and the
    probability of each.

    \b
    Examples:
      qnn-train predict runs/iris-species-seed0/model.npz new.csv
      qnn-train predict model.npz new.parquet --out answers.csv
      qnn-train predict model.npz new.csv --out answers.npz
          arrays prediction, and classes and probabilities
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.data.tables import read_table

    with refused():
        network, header = loaded(model)
        table = read_table(data)
        found = _answers(network, header.encode(table))
    ignored = header.others(table)
    if ignored and not quiet:
        say(f"ignored, as the model does not know them: {', '.join(ignored)}", err=True)
    _write(found, out)


def loaded(path: Path) -> tuple[Any, Any]:
    """Return a model and what it knows of its table.

    Raises
    ------
    ModelFileError
        Not a model that was trained on a table.
    """
    from qnn_train.errors import ModelFileError
    from qnn_train.model.integer import load_integers

    model = load_integers(path)
    if model.table is None:
        hint = "qnn-train fit saves one; an estimator's save_integers does not know columns"
        raise ModelFileError(f"{path} is a model without the names of columns", hint=hint)
    return model, model.table


def _answers(network: Any, X: Any) -> dict[str, Array]:
    """Return arrays by name: the answers, and for classes their probabilities."""
    found = {"prediction": network.predict(X)}
    if network.KIND == "classifier":
        found |= {"classes": network.classes, "probabilities": network.predict_proba(X)}
    return found


def _write(found: dict[str, Array], out: Path | None) -> None:
    import numpy as np

    from cim_hal.atomic_files import replacing
    from cim_hal.console import say
    from qnn_train.cli.train import written

    if out is None:
        say(*_csv(found).splitlines())
        return
    with written(out), replacing(out) as file:
        if out.suffix == ".npz":
            np.savez_compressed(file, allow_pickle=False, **found)
        else:
            file.write(_csv(found).encode())


def _csv(found: dict[str, Array]) -> str:
    """Return the answers as text: a row of names, then a row for each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"p({label})" for label in found.get("classes", ())]
    writer.writerow(["prediction", *names])
    for row, answer in enumerate(found["prediction"].tolist()):
        shares = found["probabilities"][row] if names else ()
        writer.writerow([answer, *(f"{share:.6f}" for share in shares)])
    return text.getvalue()
