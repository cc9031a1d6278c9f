"""``cim-hal sample``: samples of a model file."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
from pydantic import Field
from rich.console import Console
from rich.logging import RichHandler

from cim_hal.cli.common import (
    Target,
    format_option,
    json_option,
    model_option,
    refused,
    target_options,
    whole_file,
)
from cim_hal.cli.sample_plot import SUFFIXES, picture, readable
from cim_hal.cli.search import (
    KEPT_RUNS,
    Search,
    print_report,
    result_of,
    search_for,
    summarize,
    write_archive,
)
from cim_hal.console import say
from cim_hal.errors import CimError, TargetError
from cim_hal.extras import require_extra
from cim_hal.model.files import read_model
from cim_hal.model.schedule import MAX_KNOTS, MAX_ROUND_TRIPS, MAX_TRACE_BYTES, TraceRequest
from cim_hal.option_types import COUNT, FILE, POSITIVE_SECONDS, SEED, Lowering, OutputFile, real
from cim_hal.server.logs import PlainFormatter
from cim_hal.text import counted, printable
from cim_hal.toml_files import Dotted, FileTable, read_file

if TYPE_CHECKING:
    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.files import ModelFile
    from cim_hal.model.schedule import PumpSchedule

__all__ = ["RunSettings", "parse_pump", "parse_settings", "read_run_settings", "sample"]

RUNS_OF_A_SEARCH = 64
TRACED_RUNS = 16
FRAMES = 200
CANCEL_S = 5.0  # at most, to find and cancel the job of an interrupted submission


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Pump knots, length of a run and settings; None for what the machine recommends."""

    pump: tuple[float, ...] | None = None
    round_trips: int | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    def with_options(
        self,
        *,
        pump: tuple[float, ...] | None,
        round_trips: int | None,
        settings: Mapping[str, float],
    ) -> RunSettings:
        """Return these settings, overridden by the options."""
        return replace(
            self,
            pump=self.pump if pump is None else pump,
            round_trips=self.round_trips if round_trips is None else round_trips,
            settings={**self.settings, **settings},
        )

    def schedule(self, recommended: PumpSchedule) -> PumpSchedule:
        """Return the schedule, completed from the one the machine recommends."""
        return type(recommended)(
            self.pump or recommended.pump, self.round_trips or recommended.round_trips
        )


def parse_pump(_context: object, _option: object, text: str | None) -> tuple[float, ...] | None:
    """Read ``0,1.1``: pump rates at equal distances, in thresholds."""
    if text is None:
        return None
    words = text.split(",")
    pump = tuple(real(word, "a number; write them with commas, 0,1.1") for word in words)
    if min(pump) < 0 or len(pump) > MAX_KNOTS:
        raise click.BadParameter(f"{text[:80]!r} is not 1 to {MAX_KNOTS} numbers from 0")
    return pump


def parse_settings(_context: object, _option: object, texts: Iterable[str]) -> dict[str, float]:
    """Read ``name=value`` pairs; of two for one name the last one counts."""
    settings = {}
    for text in texts:
        name, _, value = text.partition("=")
        settings[name.strip()] = real(value, f"a number, in {text!r}: write NAME=NUMBER")
    return settings


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """The options of a run, besides the model, schedule and settings."""

    runs: int | None
    seed: int | None
    bits: int | None
    lowering: str
    seconds: float | None
    priority: int
    trace_every: int | None
    trace_runs: int | None
    plot: Path | None


@click.command()
@target_options
@model_option
@format_option
@click.option(
    "--runs",
    type=COUNT,
    help="Independent runs from vacuum to readout.  "
    f"[default: 1; with --seconds, {RUNS_OF_A_SEARCH} in each job]",
)
@click.option(
    "--seconds",
    type=POSITIVE_SECONDS,
    help="Submit one job after another, with new seeds, for this time; Ctrl-C ends it earlier. "
    f"The {KEPT_RUNS} lowest runs are kept.",
)
@click.option(
    "--pump",
    callback=parse_pump,
    metavar="P,P,...",
    help="Pump rates at equally spaced knots of a run, in thresholds, linear between.  "
    "[default: what the machine recommends]",
)
@click.option(
    "--round-trips",
    type=click.IntRange(1, MAX_ROUND_TRIPS),
    help="Length of a run.  [default: what the machine recommends]",
)
@click.option(
    "--setting",
    "settings",
    multiple=True,
    callback=parse_settings,
    metavar="NAME=VALUE",
    help="Change a setting of the machine for this job; cim-hal describe lists them. Repeatable.",
)
@click.option(
    "--settings",
    "settings_path",
    type=FILE,
    metavar="FILE.toml",
    help="Read [schedule] and [settings] from a file; the options above override it.",
)
@click.option("--seed", type=SEED, help="Seed.  [default: a random one]")
@click.option(
    "--priority",
    type=click.IntRange(-9, 9),
    default=0,
    show_default=True,
    help="Priority among your own waiting jobs; the highest runs first.",
)
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    help="Bits of a coupling.  [default: those of the machine]",
)
@click.option(
    "--lowering",
    type=Lowering(),
    default="max",
    show_default=True,
    metavar="POLICY",
    help="How a model that does not fit is brought to these bits: max, quantile[:SHARE], "
    "least-error, stochastic, splitting[:SHARE], mutation or weakening; cim-hal precision "
    "compares them.",
)
@click.option(
    "--trace",
    "trace_every",
    type=click.IntRange(1, MAX_ROUND_TRIPS),
    metavar="EVERY",
    help="Keep the amplitudes during runs, every EVERY round trips.",
)
@click.option(
    "--trace-runs",
    type=COUNT,
    help=f"Number of first runs to trace.  [default: {TRACED_RUNS}]",
)
@click.option(
    "--plot",
    type=OutputFile(*SUFFIXES),
    metavar="FILE",
    help="Plot the runs: .png, .svg or .pdf. Traces them where the machine can.",
)
@click.option(
    "--out",
    type=OutputFile(".npz"),
    metavar="FILE.npz",
    help="Write spins, energies, amplitudes, the trace and their provenance.",
)
@json_option
def sample(
    machine: Target,
    *,
    model_path: Path,
    model_format: str | None,
    pump: tuple[float, ...] | None,
    round_trips: int | None,
    settings: dict[str, float],
    settings_path: Path | None,
    out: Path | None,
    as_json: bool,
    **request: Any,
) -> None:
    """Sample a model on the machine TARGET.

    \b
    Examples:
      cim-hal sample emulator --model G1.txt --runs 100 --seed 1
      cim-hal sample emulator --model G22.txt --runs 64 --plot runs.png
      cim-hal sample bench.toml --model G22.txt --setting coupling_gain=0.6
      cim-hal sample bench.toml --model penalties.qubo --runs 64 --lowering weakening
      cim-hal sample emulator-cac --model G22.txt --seconds 60 --setting coupling_gain=0.6
      cim-hal sample tcp://127.0.0.1:5555 --model spin_glass.npz --out samples.npz --json
    """  # noqa: D301
    wanted = SampleRequest(**request)
    if wanted.plot is not None:
        require_extra("matplotlib", "--plot", TargetError)
    for option, path in (("--out", out), ("--plot", wanted.plot)):
        if path is not None and path.exists() and path.samefile(model_path):
            raise click.BadParameter(f"{path} is the model", param_hint=option)
    chosen = RunSettings() if settings_path is None else read_run_settings(settings_path)
    chosen = chosen.with_options(pump=pump, round_trips=round_trips, settings=settings)
    file = read_model(model_path, format=model_format)
    console = _console()
    started = time.perf_counter()
    with machine.open() as session:
        search = _search(session, file, chosen, wanted, console)
    seconds = time.perf_counter() - started
    if out is not None:
        write_archive(out, search.samples)
    if wanted.plot is not None:
        _draw(wanted.plot, model_path, file, search)
    if as_json:
        say(json.dumps(summarize(file, search, seconds)))
        return
    print_report(file, search, seconds, filter(None, (out, wanted.plot)))


def _search(
    session: Session, file: ModelFile, chosen: RunSettings, wanted: SampleRequest, console: Console
) -> Search:
    capabilities = session.capabilities
    schedule = chosen.schedule(capabilities.default_schedule)
    runs = wanted.runs or min(RUNS_OF_A_SEARCH if wanted.seconds else 1, capabilities.max_runs)
    trace = _trace(capabilities, schedule.round_trips, runs, file.model.n_spins, wanted)
    seed = secrets.randbits(63) if wanted.seed is None else wanted.seed

    def submit(number: int) -> Any:
        key = secrets.token_hex(16)

        def send(timeout_s: float | None = None) -> Any:
            return session.submit(
                file.model,
                schedule,
                n_runs=runs,
                seed=(seed + number) % 2**63,
                coupling_bits=wanted.bits,
                lowering=wanted.lowering,
                priority=wanted.priority,
                settings=chosen.settings,
                trace=trace,
                key=key,
                timeout_s=timeout_s,
            )

        try:
            return send()
        except KeyboardInterrupt:
            # The server may have the job already: the same key finds it and never runs twice.
            with suppress(CimError):
                send(CANCEL_S).cancel()
            raise

    if wanted.seconds is not None:
        return search_for(wanted.seconds, submit, console)
    started = time.perf_counter()
    what = f"sampling {counted(file.model.n_spins, 'spin')} on {capabilities.name}"
    samples = result_of(submit(0), console, what)
    return Search.begun(samples, time.perf_counter() - started)


def _trace(
    capabilities: Capabilities, round_trips: int, n_runs: int, n_spins: int, wanted: SampleRequest
) -> TraceRequest | None:
    """Return the requested trace or, for a plot, one that fits comfortably."""
    runs = min(wanted.trace_runs or TRACED_RUNS, n_runs)
    if wanted.trace_every is not None:
        return TraceRequest(wanted.trace_every, runs)
    if wanted.plot is None or not capabilities.reports_trace:
        return None
    most = MAX_TRACE_BYTES // (4 * n_spins)  # amplitudes of one run at one frame
    frames = min(FRAMES, most, round_trips)
    return TraceRequest(-(-round_trips // frames), min(runs, most // frames))


def _draw(path: Path, model_path: Path, file: ModelFile, search: Search) -> None:
    samples = search.samples
    cut = f" (cut {file.model.cut(samples.best):g})" if file.is_graph else ""
    energy = readable(samples.best_energy)
    title = f"{model_path.name} on {samples.record.device}: lowest energy {energy}{cut}"
    figure = picture(samples, file.model, title=printable(title))
    with whole_file(path) as target:
        figure.savefig(target, format=path.suffix[1:], dpi=150)


def _console() -> Console:
    """Return stderr, where errors of machines appear too, and that they compile, which lasts."""
    console = Console(stderr=True)
    handler = logging.StreamHandler()
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    handler.addFilter(
        lambda record: record.levelno >= logging.ERROR or record.name.endswith(".compilation")
    )
    handler.setFormatter(PlainFormatter())
    logging.getLogger().addHandler(handler)
    return console


class _Schedule(FileTable):
    pump: (
        Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1, max_length=MAX_KNOTS)]
        | None
    ) = None
    round_trips: Annotated[int, Field(ge=1, le=MAX_ROUND_TRIPS)] | None = None


class _SettingsFile(FileTable):
    """A file for ``--settings``: a table ``[schedule]``, a table ``[settings]``, or both."""

    schedule: _Schedule = _Schedule()
    settings: Annotated[dict[str, float], Dotted] = Field(default_factory=dict)


def read_run_settings(path: Path) -> RunSettings:
    """Read a TOML file with a table ``[schedule]``, a table ``[settings]``, or both.

    The schedule may have ``pump``, a list of knots, and ``round_trips``. Settings are numbers by
    name; a name with a dot may be quoted, or not. Anything else is a `click.BadParameter`.
    """
    with refused("--settings"):
        found = read_file(path, _SettingsFile, "a schedule and settings", TargetError)
    pump = found.schedule.pump
    return RunSettings(
        pump=None if pump is None else tuple(pump),
        round_trips=found.schedule.round_trips,
        settings=found.settings,
    )
