"""``cim-hal tune``: search for the schedule and the settings that suit a model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from cim_hal.cli.common import (
    Target,
    format_option,
    json_option,
    model_option,
    print_table,
    progress_on,
    target_options,
    whole_file,
)
from cim_hal.client.tuning import Tuner
from cim_hal.console import say
from cim_hal.model.files import read_model
from cim_hal.option_types import COUNT, POSITIVE_SECONDS, SEED, OutputFile
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.client.tuning import Candidate, Comparison, Trial
    from cim_hal.model.record import Note

__all__ = ["tune"]

# Of the time, for measuring the winner and the defaults again.
SHARE_OF_COMPARISON = 0.2


@click.command()
@target_options
@model_option
@format_option
@click.option(
    "--seconds",
    type=POSITIVE_SECONDS,
    default=60.0,
    show_default=True,
    help="Time for the whole search; Ctrl-C ends it earlier.",
)
@click.option("--trials", type=COUNT, help="Largest number of trials.  [default: no limit]")
@click.option(
    "--work",
    type=COUNT,
    help="Round trips in a unit of work, spent on few long runs or on many short ones.  "
    "[default: two runs as long as the machine recommends]",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--out",
    type=OutputFile(".toml"),
    metavar="FILE.toml",
    help="Write the result, for cim-hal sample --settings.",
)
@json_option
def tune(
    machine: Target,
    *,
    model_path: Path,
    model_format: str | None,
    seconds: float,
    trials: int | None,
    work: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Search for the schedule and the settings of the machine TARGET that suit a model.

    Every trial costs the same number of round trips. At the end the best candidate and the
    defaults of the machine are measured again, with new seeds.

    \b
    Examples:
      cim-hal tune emulator --model G22.txt --seconds 120 --out tuned.toml
      cim-hal sample emulator --model G22.txt --runs 100 --settings tuned.toml
    """  # noqa: D301
    file = read_model(model_path, format=model_format)
    with machine.open() as session:
        tuner = Tuner(session, file.model, seed=seed, work=work)
        found, best = _search(tuner, seconds * (1 - SHARE_OF_COMPARISON), trials)
        comparison = tuner.compare(best.candidate)
        name = session.capabilities.name
        default = tuner.default
    winner = best.candidate if comparison.is_better else default
    if out is not None:
        with whole_file(out) as target_file:
            target_file.write(_toml(winner, name, model_path, seed).encode())
    if as_json:
        say(json.dumps(_summary(name, found, best, winner, comparison)))
    else:
        _show(found, best, default, comparison, out)


def _search(tuner: Tuner, seconds: float, trials: int | None) -> tuple[list[Trial], Trial]:
    """Return all trials and the best; at least the defaults are tried."""
    started, found = time.perf_counter(), []
    with progress_on(Console(stderr=True)) as bar:
        task = bar.add_task("tuning", total=seconds)
        steps = iter(tuner)
        try:
            while not found or (len(found) != trials and time.perf_counter() - started < seconds):
                found.append(next(steps))
                best = min(found, key=lambda trial: trial.score)
                said = f"{counted(len(found), 'trial')}, best {best.score:g}"
                said += f" (defaults {found[0].score:g})"
                bar.update(task, completed=time.perf_counter() - started, description=said)
        except KeyboardInterrupt:
            if not found:
                raise
    return found, min(found, key=lambda trial: trial.score)


def _toml(candidate: Candidate, device: str, model_path: Path, seed: int) -> str:
    pump = ", ".join(repr(value) for value in candidate.schedule.pump)
    lines = [
        f"# cim-hal tune, for {json.dumps(model_path.name)} on {json.dumps(device)}, seed {seed}",
        "[schedule]",
        f"pump = [{pump}]",
        f"round_trips = {candidate.schedule.round_trips}",
        "",
        "[settings]",
        *(f"{json.dumps(name)} = {value!r}" for name, value in candidate.settings.items()),
    ]
    return "\n".join(lines) + "\n"


def _summary(
    device: str, found: list[Trial], best: Trial, winner: Candidate, comparison: Comparison
) -> dict[str, object]:
    return {
        "device": device,
        "n_trials": len(found),
        "best_energy": min(trial.best_energy for trial in found),
        "best_trial": best.number,
        "is_better": comparison.is_better,
        "gain": comparison.gain,
        "standard_error": comparison.standard_error,
        "default_score": float(comparison.default.mean()),
        "tuned_score": float(comparison.tuned.mean()),
        "pump": list(winner.schedule.pump),
        "round_trips": winner.schedule.round_trips,
        "settings": dict(winner.settings),
        "default_notes": dict(comparison.default_notes),
        "tuned_notes": dict(comparison.tuned_notes),
        "scores": [trial.score for trial in found],
    }


def _show(
    found: list[Trial], best: Trial, default: Candidate, comparison: Comparison, out: Path | None
) -> None:
    before, after = default.schedule, best.candidate.schedule
    settings = best.candidate.settings
    measured = (comparison.default, comparison.tuned)
    notes = (comparison.default_notes, comparison.tuned_notes)
    rows = [
        ("pump", _knots(before.pump), _knots(after.pump)),
        ("round trips", str(before.round_trips), str(after.round_trips)),
        *((name, "", f"{value:.4g}") for name, value in settings.items()),
        ("energy for equal work", *(f"{energies.mean():.6g}" for energies in measured)),
        ("lowest energy", *(f"{energies.min():.6g}" for energies in measured)),
        *(
            (f"note {name}", *(_short(some.get(name, "")) for some in notes))
            for name in dict.fromkeys([name for some in notes for name in some])
        ),
    ]
    print_table("", "defaults", "tuned", rows=rows)
    gain = f"{comparison.gain:.3g} ± {comparison.standard_error:.2g}"
    verdict = (
        f"better by {gain} in energy"
        if comparison.is_better
        else f"no better than the defaults, which are kept ({gain} in energy)"
    )
    say(f"{counted(len(found), 'trial')}; measured again with new seeds: {verdict}")
    if out is not None:
        say(f"written: {out}")


def _knots(pump: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in pump)


def _short(note: Note) -> str:
    return f"{note:.4g}" if isinstance(note, float) else str(note)
