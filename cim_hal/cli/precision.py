"""``cim-hal precision``: how many bits of a coupling a model needs, and how to use fewer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import format_option, json_option, model_option, print_json, print_table
from cim_hal.console import say
from cim_hal.option_types import COUNT
from cim_hal.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cim_hal.model.ising import IsingModel
    from cim_hal.study.precision import Precision

__all__ = ["precision"]


@click.command()
@model_option
@format_option
@click.option("--fields", "has_field", is_flag=True, help="Of a machine with fields of its own.")
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    help="Compare the lowering policies at these bits of a coupling, and name the cheapest.",
)
@click.option(
    "--max-spins",
    type=COUNT,
    help="Spins of the machine, where the auxiliary ones of splitting have to fit, with --bits.",
)
@json_option
def precision(
    *,
    model_path: Path,
    model_format: str | None,
    has_field: bool,
    bits: int | None,
    max_spins: int | None,
    as_json: bool,
) -> None:
    """Say how many bits of a coupling a model needs, or how it is lowered to given bits.

    For 2 to 16 bits: the error of a number and of an energy and, up to 20 spins, what is left of
    the optimum. With --bits the same for each lowering policy, and the cheapest that keeps the
    optimum: the one with the fewest auxiliary spins. It opens no machine.

    \b
    Examples:
      cim-hal precision --model G22.txt
      cim-hal precision --model small.qubo --bits 8
      cim-hal precision --model small.qubo --json
    """  # noqa: D301
    from cim_hal.model.files import read_model
    from cim_hal.study.precision import dynamic_range, enough_bits
    from cim_hal.study.precision import precision as of_model
    from cim_hal.study.run import plain

    model = read_model(model_path, format=model_format).model
    if max_spins is not None and bits is None:
        raise click.UsageError("--max-spins is for --bits")
    if bits is not None:
        _policies(model, bits, has_field=has_field, max_spins=max_spins, as_json=as_json)
        return
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


def _policies(
    model: IsingModel, bits: int, *, has_field: bool, max_spins: int | None, as_json: bool
) -> None:
    from cim_hal.study.precision import cheapest, dynamic_range, policies_at
    from cim_hal.study.run import plain

    found = policies_at(model, bits, has_field=has_field, max_spins=max_spins)
    best = cheapest(found)
    if as_json:
        facts = {
            "n_spins": model.n_spins,
            "dynamic_range": dynamic_range(model),
            "bits": bits,
            "cheapest": best,
            "policies": [asdict(each) for each in found],
        }
        print_json(plain(facts))
        return
    rows = [
        (
            each.policy,
            str(each.auxiliary_spins),
            f"{each.max_error:.3g}",
            f"{each.energy_error:.3g}",
            f"{each.dynamic_range:.3g}",
            *_left(each.survival),
        )
        for each in found
        if not each.refused
    ]
    headings = ("policy", "auxiliary spins", "error", "energy error", "range")
    print_table(*headings, "optimum kept", "excess energy", rows=rows)
    say(*(f"{each.policy} is refused: {each.refused}" for each in found if each.refused))
    none = "no policy is known to keep the optimum"
    say(f"cheapest at {counted(bits, 'bit')} that keeps the optimum: {best}" if best else none)


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
    return (
        f"from {counted(enough, 'bit')}"
        f" on {'the optimum survives' if is_enumerated else 'nothing changes'}"
    )
