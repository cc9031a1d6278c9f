"""``cim-hal precision``: how many bits of a coupling a model needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import format_option, json_option, model_option, print_json, print_table
from cim_hal.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cim_hal.study.precision import Precision

__all__ = ["precision"]


@click.command()
@model_option
@format_option
@click.option("--fields", "has_field", is_flag=True, help="Of a machine with fields of its own.")
@json_option
def precision(
    *, model_path: Path, model_format: str | None, has_field: bool, as_json: bool
) -> None:
    """Say how many bits of a coupling a model needs.

    For 2 to 16 bits: the error of a number and of an energy and, up to 20 spins, what is left of
    the optimum. It opens no machine.

    \b
    Examples:
      cim-hal precision --model G22.txt
      cim-hal precision --model small.qubo --json
    """  # noqa: D301
    from cim_hal.model.files import read_model
    from cim_hal.study.precision import dynamic_range, enough_bits
    from cim_hal.study.precision import precision as of_model
    from cim_hal.study.run import plain

    model = read_model(model_path, format=model_format).model
    found = of_model(model, has_field=has_field)
    enough, spread = enough_bits(found), dynamic_range(model)
    if as_json:
        facts = {
            "n_spins": model.n_spins,
            "dynamic_range": spread,
            "enough_bits": enough,
            "bits": [asdict(each) for each in found],
        }
        print_json(plain(facts))
        return
    _show(found)
    say(f"largest over smallest number: {spread:.4g}", _verdict(found, enough))


def _show(found: Sequence[Precision]) -> None:
    rows = [
        (
            str(each.bits),
            str(each.levels_used),
            f"{each.max_error:.3g}",
            f"{each.energy_error_bound:.3g}",
            *_left(each.survival),
        )
        for each in found
    ]
    headings = ("bits", "levels", "error", "energy error", "optimum kept", "excess energy")
    print_table(*headings, rows=rows)


def _left(survival: Any) -> tuple[str, str]:
    if survival is None:
        return "", ""
    return f"{survival.share:.3g}", f"{survival.excess_energy:.3g}"


def _verdict(found: Sequence[Precision], enough: int | None) -> str:
    is_enumerated = found[0].survival is not None
    if is_enumerated and enough is None:
        return "the optimum survives at none of these"
    if enough is None:
        return "every number of bits changes numbers; the model is too large to try all spins"
    return f"from {enough} bits on {'the optimum survives' if is_enumerated else 'nothing changes'}"
