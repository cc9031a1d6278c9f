"""``cim-hal convert``: a model file in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cim_hal.cli.common import format_option, json_option, print_json
from cim_hal.console import say
from cim_hal.option_types import MODEL_FILE, OutputFile
from cim_hal.text import counted

__all__ = ["convert"]

LAYOUTS = (
    *("gset", "biqmac", "qbsolv", "coo", "bqpjson", "dimod"),
    *("npz", "npy", "scipy", "mtx"),
)


@click.command()
@click.argument("source", type=MODEL_FILE)
@click.argument("target", type=OutputFile())
@format_option
@click.option(
    "--to",
    "layout",
    type=click.Choice(LAYOUTS),
    help="Layout of TARGET; by default its suffix says it.",
)
@click.option("--drop-offset", is_flag=True, help="Leave out a constant that has no place there.")
@json_option
def convert(**options: Any) -> None:
    """Write the model in SOURCE to TARGET, in another format.

    Energies stay equal for all spins, or bits (1 + spin) / 2. A field or a constant that the other
    format has no place for is refused. SOURCE is a file, or - for standard input.

    \b
    Examples:
      cim-hal convert G22.txt G22.json
          a graph as bqpjson
      cim-hal convert bqp50.sparse bqp50.qubo.gz
          a matrix of Biq Mac as qbsolv, compressed
      cim-hal convert model.mtx model.npz --format maxcut
          weights of a graph in Matrix Market; the format says what a matrix is
      cim-hal convert small.json small.qubo --drop-offset
          the constant of the energy is left out, and told
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.model.file_writers import layout_of, write_model
    from cim_hal.model.files import read_model

    source, target = Path(options["source"]), Path(options["target"])
    layout = options["layout"] or layout_of(target)
    file = read_model(source, format=options["model_format"])
    model = file.model
    write_model(target, model, layout=layout, drop_offset=options["drop_offset"])
    facts = {
        "source": str(source),
        "format": file.format,
        "target": str(target),
        "layout": layout,
        "n_spins": model.n_spins,
        "has_field": bool(model.h.any()),
        "offset": model.offset,
        "labels": None if file.labels is None else [str(label) for label in file.labels],
    }
    if options["as_json"]:
        print_json(facts)
        return
    field = ", with a field" if facts["has_field"] else ""
    say(
        f"{source}: {file.format}, {counted(model.n_spins, 'spin')}{field}, "
        f"offset {model.offset:.12g}"
    )
    is_named = file.labels not in (None, tuple(range(model.n_spins)))
    numbered = ", variables by number: --json lists their names" if is_named else ""
    matrix = ", the couplings J" if layout in {"mtx", "npy", "scipy"} else ""
    say(f"{target}: {layout}{matrix}{numbered}")
