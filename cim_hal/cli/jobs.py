"""``cim-hal jobs``: what waits, runs and is kept on a server, from any process."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.cli.paths import FILE
from cim_hal.cli.sample_report import write_archive
from cim_hal.cli.shared_options import key_options
from cim_hal.client.session import open_device
from cim_hal.model.files import read_model
from cim_hal.protocol.jobs.state import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cim_hal.client.job import Job
    from cim_hal.client.session import Session
    from cim_hal.protocol.wire.messages import JobInfo

__all__ = ["jobs"]

NONE_GONE: Mapping[str, JobState] = MappingProxyType({})
ACTIONS = ("list", "show", "wait", "result", "cancel", "ack")


@click.command()
@click.argument("target")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("job_ids", nargs=-1, metavar="[JOB]...")
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in JobState]),
    multiple=True,
    help="With list: only jobs in this state; may be repeated.",
)
@click.option(
    "--model",
    "model_path",
    type=FILE,
    metavar="FILE",
    help="With result: the model that was submitted, for the energies.",
)
@click.option(
    "--out",
    "out_path",
    type=FILE,
    metavar="FILE.npz",
    help="With result: where to write spins, energies, amplitudes and provenance.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.0),
    metavar="SECONDS",
    help="With wait and result: how long to wait for the end of a job; without end by default.",
)
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def jobs(
    target: str,
    action: str,
    job_ids: tuple[str, ...],
    *,
    states: tuple[str, ...],
    model_path: Path | None,
    out_path: Path | None,
    timeout_s: float | None,
    key: Path | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """List your jobs on the server TARGET, and wait for, fetch, end or let go of some of them.

    JOB is the id of a job, or as much of its beginning as tells it from the others. A result that
    was acknowledged (ack) is dropped; its key is remembered, so that the job never runs again.

    \b
    Examples:
      cim-hal jobs tcp://127.0.0.1:5555 list
      cim-hal jobs tcp://127.0.0.1:5555 list --state queued --json
      cim-hal jobs tcp://127.0.0.1:5555 wait 3f2a --timeout 60
      cim-hal jobs tcp://127.0.0.1:5555 result 3f2a --model G1.txt --out samples.npz
      cim-hal jobs tcp://127.0.0.1:5555 ack 3f2a
    """  # noqa: D301
    if (action == "list") == bool(job_ids):
        raise click.UsageError(f"{action} {'takes no' if job_ids else 'needs a'} JOB")
    if action == "result" and (model_path is None or len(job_ids) > 1):
        raise click.UsageError("result needs one JOB and the --model that was submitted")
    with open_device(target, key=key, server_key=server_key) as session:
        if action == "list":
            _show(session.jobs(*states), as_json=as_json)
            return
        known = session.jobs()
        found = [_found(known, beginning) for beginning in job_ids]
        if action == "result" and model_path is not None:
            _fetch(session, found[0], model_path, out_path, timeout_s, as_json=as_json)
            return
        states_of = {name: ACT[action](session.job(name), timeout_s) for name in found}
        kept = [info for info in session.jobs() if info.job in states_of]
    gone = {name: state for name, state in states_of.items() if name not in {i.job for i in kept}}
    _show(kept, gone, as_json=as_json)


def _fetch(
    session: Session,
    job_id: str,
    model_path: Path,
    out_path: Path | None,
    timeout_s: float | None,
    *,
    as_json: bool,
) -> None:
    file = read_model(model_path)
    samples = session.job(job_id, file.model).result(timeout_s)
    if out_path is not None:
        write_archive(out_path, samples)
    facts = {
        "job": job_id,
        "n_runs": len(samples),
        "best_energy": samples.best_energy,
        "energies": samples.energies.tolist(),
        "record": samples.record.model_dump(mode="json"),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{len(samples)} runs, best energy {samples.best_energy:.10g}")


def _state(job: Job, _timeout_s: float | None) -> JobState:
    return job.state


def _wait(job: Job, timeout_s: float | None) -> JobState:
    return job.wait(timeout_s)


def _cancel(job: Job, _timeout_s: float | None) -> JobState:
    return job.cancel()


def _acknowledge(job: Job, _timeout_s: float | None) -> JobState:
    return job.acknowledge()


ACT: dict[str, Callable[[Job, float | None], JobState]] = {
    "show": _state,
    "wait": _wait,
    "cancel": _cancel,
    "ack": _acknowledge,
}


def _found(known: Sequence[JobInfo], beginning: str) -> str:
    """Return the id that begins so; an id that is whole need not be in the list."""
    found = [info.job for info in known if info.job.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if len(beginning) == 32:
        return beginning
    raise click.UsageError(f"{len(found)} of your jobs on the server begin with {beginning}")


def _show(
    kept: Sequence[JobInfo], gone: Mapping[str, JobState] = NONE_GONE, *, as_json: bool
) -> None:
    """Print jobs, and of those whose results are gone what is known still."""
    if as_json:
        facts = [info.model_dump(mode="json") for info in kept]
        facts += [{"job": job, "state": state.value, "gone": True} for job, state in gone.items()]
        click.echo(json.dumps(facts, indent=2))
        return
    if kept or not gone:
        Console().print(_table(kept))
    for job, state in gone.items():
        click.echo(f"{job}: {state}, its result is gone")


def _table(infos: Sequence[JobInfo]) -> Table:
    table = Table("job", "state", "owner", "runs", "age", "bytes", "progress", "reason")
    for info in infos:
        done = info.progress
        share = f"{done.done} of {done.total} {done.unit}" if done is not None else ""
        row = (info.job[:12], info.state.value, info.owner, f"{info.n_runs}", f"{info.age_s:.0f} s")
        table.add_row(*row, f"{info.n_bytes:,}", share, info.reason)
    return table
