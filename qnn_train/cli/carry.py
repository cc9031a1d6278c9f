"""What every training command does: train, keep checkpoints, write what was found, say it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import click

from qnn_train.archive import format_of
from qnn_train.cli.output import folder_for, written
from qnn_train.errors import CheckpointError
from qnn_train.training import Checkpoint
from qnn_train.training.checkpoint import FORMAT, MAX_BYTES, ProgramCheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cim_hal import DevicePool, Session
    from qnn_train.cli.output import MachineOptions
    from qnn_train.model.file import TrainedModel

__all__ = ["Command", "Outputs", "load_checkpoint"]

BETWEEN_CHECKPOINTS_S = 2.0
ReportT = TypeVar("ReportT", bound="Report")
ReportT_co = TypeVar("ReportT_co", bound="Report", covariant=True)
StepT = TypeVar("StepT")
StepT_co = TypeVar("StepT_co", covariant=True)


class Report(Protocol):
    """What can be said as JSON."""

    def to_json(self) -> str:
        """Return the text."""
        ...

    def save(self, path: Path) -> None:
        """Write the text."""
        ...


class Outcome(Protocol[ReportT_co]):
    """A trained model and how it came to be."""

    @property
    def model(self) -> TrainedModel:
        """The model."""
        ...

    @property
    def report(self) -> ReportT_co:
        """What was done."""
        ...


class Run(Protocol[StepT_co, ReportT_co]):
    """A training in progress."""

    @property
    def calls(self) -> int:
        """Calls of the machine up to the last step."""
        ...

    def __iter__(self) -> Iterator[StepT_co]: ...

    def checkpoint(self) -> Checkpoint | ProgramCheckpoint:
        """Return all that the rest depends on, as of the last step."""
        ...

    def outcome(self) -> Outcome[ReportT_co]:
        """Measure the best network."""
        ...


RunT = TypeVar("RunT", bound=Run)
RunT_contra = TypeVar("RunT_contra", bound=Run, contravariant=True)
StepT_contra = TypeVar("StepT_contra", contravariant=True)


class Watch(Protocol[RunT_contra, StepT_contra]):
    """Takes all steps of a run, with a bar if not quiet."""

    def __call__(self, run: RunT_contra, steps: Iterator[StepT_contra], *, quiet: bool) -> None: ...


@dataclass(frozen=True)
class Outputs:
    """Where results go.

    Attributes
    ----------
    folder : Path
        Of model, report and picture.
    checkpoint : Path or None
        Kept when all is done; None for one in the folder, until then.
    json_file : Path or None
        For the report, ``-`` for stdout.
    quiet : bool
        No progress and no summary.
    """

    folder: Path
    checkpoint: Path | None
    json_file: Path | None
    quiet: bool


@dataclass(frozen=True)
class Command(Generic[RunT, StepT, ReportT]):
    """A kind of training.

    Attributes
    ----------
    start : callable
        From a session to a run.
    watch : Watch
    draw : callable
        Makes the picture of a report.
    summary : callable
        From a report and the folder to a text.
    """

    start: Callable[[Session | DevicePool], RunT]
    watch: Watch[RunT, StepT]
    draw: Callable[[ReportT, Path], None]
    summary: Callable[[ReportT, Path], str]

    def carry_out(self, machines: MachineOptions, outputs: Outputs) -> None:
        """Train, write model, report and picture, and print the summary."""
        kept = outputs.checkpoint or outputs.folder / "checkpoint.npz"
        with ExitStack() as stack:
            run = self.start(machines.connect(stack))
            stack.enter_context(folder_for(outputs.folder))
            try:
                self.watch(run, _kept(run, kept), quiet=outputs.quiet)
                outcome = run.outcome()
                self._write(outcome, outputs)
            except KeyboardInterrupt:
                _stopped(run, kept)
                raise
        if outputs.checkpoint is None:
            kept.unlink(missing_ok=True)
        if not outputs.quiet and str(outputs.json_file) != "-":
            click.echo(self.summary(outcome.report, outputs.folder))

    def _write(self, outcome: Outcome[ReportT], outputs: Outputs) -> None:
        folder, json_file = outputs.folder, outputs.json_file
        with written(folder):
            outcome.model.save(folder / "model.npz")
            outcome.report.save(folder / "report.json")
            self.draw(outcome.report, folder / "training.png")
            if json_file is not None and str(json_file) != "-":
                outcome.report.save(json_file)
        if str(json_file) == "-":
            click.echo(outcome.report.to_json())


def load_checkpoint(path: Path) -> Checkpoint | ProgramCheckpoint:
    """Read a checkpoint of either kind.

    Raises
    ------
    CheckpointError
        Not such a file, or one whose parts do not fit together.
    """
    if format_of(path, CheckpointError, max_bytes=MAX_BYTES) == FORMAT:
        return ProgramCheckpoint.load(path)
    return Checkpoint.load(path)


def _kept(run: Run[StepT, Report], path: Path) -> Iterator[StepT]:
    """Make the steps, and leave a checkpoint every few seconds and where they end."""
    saved = time.monotonic()
    for step in run:
        if time.monotonic() - saved > BETWEEN_CHECKPOINTS_S:
            _save(run, path)
            saved = time.monotonic()
        yield step
    _save(run, path)


def _stopped(run: Run[StepT, Report], path: Path) -> None:
    """Leave a checkpoint of the last step, if one was made, and say how to go on."""
    if run.calls:
        _save(run, path)
        said = f"stopped after {run.calls} calls; go on with: qnn-train --resume {path}"
        click.echo(said, err=True)


def _save(run: Run[StepT, Report], path: Path) -> None:
    with written(path):
        run.checkpoint().save(path)
