"""``cim-hal compare``: what machines would make of a model, beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from cim_hal.cli.common import (
    format_option,
    json_option,
    key_options,
    print_json,
    print_table,
    progress_on,
    refuse_keys,
)
from cim_hal.console import say
from cim_hal.option_types import COUNT, MODEL_FILE, Lowering, Real, Target
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.model.ising import IsingModel

__all__ = ["compare"]


@click.command()
@click.argument("model_path", metavar="MODEL", type=MODEL_FILE)
@format_option
@click.option(
    "--device",
    "devices",
    type=Target(),
    multiple=True,
    required=True,
    help="A machine to compare: a driver, a machine file or an endpoint. Give several.",
)
@click.option("--runs", type=COUNT, default=64, show_default=True, help="Runs on each machine.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--energy",
    type=Real(-1e12, 1e12),
    help="Energy from which on a run succeeds.  [default: the optimum of a model of 20 spins or "
    "fewer, of others the best of a tabu search]",
)
@click.option(
    "--lowering",
    type=Lowering(),
    default="max",
    show_default=True,
    help="How the model is brought to the bits of a machine, see cim-hal sample; one that takes "
    "real numbers has it as it is.",
)
@key_options
@json_option
def compare(
    *,
    model_path: Path,
    model_format: str | None,
    devices: tuple[Any, ...],
    runs: int,
    seed: int,
    energy: float | None,
    lowering: str,
    key: Path | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """Predict what machines would make of the model file MODEL, beside each other.

    For each: what rounding to its levels does, the success probability, R99 and the time to
    solution, at its default settings, with intervals for this model; of each pair whether success
    and time are shown to differ.

    \b
    Examples:
      cim-hal compare G1.txt --device emulator --device emulator-550
      cim-hal compare small.qubo --device emulator --device my-machine.toml --runs 500 --json
    """  # noqa: D301
    from cim_hal.model.files import read_model
    from cim_hal.study.run import plain

    refuse_keys(*devices)
    model = read_model(model_path, format=model_format).model
    options = {"runs": runs, "seed": seed, "energy": energy, "lowering": lowering}
    keys = {"key": key, "server_key": server_key}
    found = plain(_measure(model, devices, keys=keys, **options))
    if as_json:
        print_json(found)
    else:
        _show(found)


def _measure(model: IsingModel, devices: tuple[Any, ...], **options: Any) -> dict[str, Any]:
    from cim_hal.study.devices import compare_devices

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with progress_on(Console(stderr=True), *columns) as bar:
        task = bar.add_task("machines", total=len(devices))
        return compare_devices(
            model, devices, **options, report=lambda done: bar.update(task, completed=done)
        )


def _show(found: dict[str, Any]) -> None:
    headings = ("machine", "bits", "error", "energy error", "optimum kept")
    measured = ("success", "95 %", "R99", "95 %", "time, s", "95 %")
    print_table(*headings, *measured, rows=map(_row, found["devices"]))
    searched = ", not proved" if found["energy_source"] == "tabu search" else ""
    say(
        f"success is energy {found['energy']:g} ({found['energy_source']}{searched}); "
        f"{counted(found['runs'], 'run')} on each, intervals are of this model",
        "times are at the default length of each machine: upper bounds of what it can do",
    )
    say(*(each["verdict"] for each in found["differences"]))
    if len(found["differences"]) > 1:
        say("of all these, one or more is wrong with 5 % at most, and so of the times")
    if clocked := [each["target"] for each in found["devices"] if each["run_s_from"] == "driver"]:
        say(f"of {', '.join(clocked)} the time is what the driver took here")


def _row(device: dict[str, Any]) -> list[str]:
    bits, kept = device["coupling_bits"], device["optimum_kept"]
    return [
        device["target"],
        "real" if bits is None else str(bits),
        f"{device['max_error']:.3g}",
        f"{device['energy_error_bound']:.3g}",
        "" if kept is None else f"{kept:.3g}",
        f"{device['success_probability']:.3f}",
        f"{device['low']:.3f} to {device['high']:.3f}",
        *_ends(device, "r99"),
        *_ends(device, "tts"),
    ]


def _ends(device: dict[str, Any], name: str) -> tuple[str, str]:
    value, low, high = (
        f"{float(device[key]):.3g}" for key in (name, f"{name}_low", f"{name}_high")
    )
    return value, f"{low} to {high}"
