"""``cim-hal sample``: a model file to samples."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from cim_hal.client.session import open_device
from cim_hal.model.files import read_model

if TYPE_CHECKING:
    from cim_hal.model.files import ModelFile
    from cim_hal.model.sampleset import SampleSet

__all__ = ["sample"]


@click.command()
@click.argument("target")
@click.option(
    "--model",
    "model_path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="G-set text (MAX-CUT), or .npz with J and an optional h.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Independent runs from vacuum to readout.",
)
@click.option(
    "--round-trips",
    type=click.IntRange(min=1),
    help="Length of a run; by default what the machine recommends.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed; drawn where not given.")
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    help="Bits of a coupling; those of the machine by default.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.npz",
    help="Write spins, energies, amplitudes and their provenance.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sample(
    target: str,
    *,
    model_path: Path,
    runs: int,
    round_trips: int | None,
    seed: int | None,
    bits: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Sample a model on the machine TARGET.

    \b
    Examples:
      cim-hal sample emulator --model G1.txt --runs 100 --seed 1
      cim-hal sample tcp://127.0.0.1:5555 --model spin_glass.npz --out samples.npz --json
    """  # noqa: D301
    if out is not None and not out.absolute().parent.is_dir():
        raise click.BadParameter(f"{out.absolute().parent} is not a folder", param_hint="--out")
    file = read_model(model_path)
    started = time.perf_counter()
    with (
        Console(stderr=True).status(f"sampling {file.model.n_spins} spins on {target}"),
        open_device(target) as session,
    ):
        schedule = session.capabilities.default_schedule
        samples = session.sample(
            file.model,
            schedule.stretched(round_trips) if round_trips else schedule,
            n_runs=runs,
            seed=seed,
            coupling_bits=bits,
        )
    seconds = time.perf_counter() - started
    if out is not None:
        _write(out, samples)
    summary = _summary(file, samples, seconds)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _show(summary, samples, out)


def _summary(file: ModelFile, samples: SampleSet, seconds: float) -> dict[str, object]:
    lowering = samples.record.lowering
    cut = {"best_cut": float(file.model.cut(samples.best))} if file.is_graph else {}
    return {
        "device": samples.record.device,
        "n_spins": file.model.n_spins,
        "n_runs": len(samples),
        "round_trips": samples.record.round_trips,
        "seed": samples.record.seed,
        "best_energy": samples.best_energy,
        **cut,
        "energies": samples.energies.tolist(),
        "seconds": seconds,
        "device_seconds": samples.record.device_s,
        "quantization": {
            "bits": lowering.bits,
            "scale": lowering.step,
            "max_error": lowering.max_error,
        },
    }


def _show(summary: dict[str, object], samples: SampleSet, out: Path | None) -> None:
    table = Table("property", "value", show_header=False)
    names = ("device", "n_spins", "n_runs", "round_trips", "seed", "best_energy", "best_cut")
    for name in names:
        if name in summary:
            value = summary[name]
            table.add_row(name, f"{value:g}" if isinstance(value, float) else str(value))
    table.add_row("mean energy", f"{np.mean(samples.energies):g}")
    table.add_row("runs at the best", f"{np.mean(samples.energies == samples.best_energy):.1%}")
    table.add_row(
        "seconds",
        f"{summary['seconds']:.3g}, {summary['device_seconds']:.3g} of them on the device",
    )
    lowering = samples.record.lowering
    bits = "none, real numbers" if lowering.bits is None else str(lowering.bits)
    table.add_row("coupling bits", f"{bits}; largest rounding error {lowering.max_error:.3g}")
    if out is not None:
        table.add_row("written", str(out))
    Console().print(table)


def _write(path: Path, samples: SampleSet) -> None:
    """Write an archive that is whole, or not there."""
    arrays = {
        "spins": samples.spins,
        "energies": samples.energies,
        "seed": np.array(samples.record.seed),
        "record": np.array(samples.record.model_dump_json()),
    }
    if samples.amplitudes is not None:
        arrays["amplitudes"] = samples.amplitudes
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)
