"""``cim-hal jobs`` and ``cim-hal couplings``: what a server holds for its users."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cim_hal.cli.common import (
    format_option,
    json_option,
    print_json,
    print_table,
    readable,
    server_options,
)
from cim_hal.cli.search import write_archive
from cim_hal.console import say
from cim_hal.errors import CimError, UnknownReferenceError
from cim_hal.model.files import read_model
from cim_hal.option_types import MODEL_FILE, SECONDS, OutputFile
from cim_hal.protocol.jobs.state import JobState
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.cli.common import Target
    from cim_hal.client.session import Session
    from cim_hal.model.files import ModelFile
    from cim_hal.protocol.wire.messages import HeldCouplings, JobInfo

__all__ = ["couplings", "jobs"]

NONE_GONE: Mapping[str, JobState] = MappingProxyType({})
HEADINGS = ("job", "state", "owner", "runs", "age", "bytes", "progress", "reason")
ACTIONS = ("list", "show", "wait", "result", "cancel", "ack")
COMPLETE = 32  # characters of the id of a job
FOR_ACTIONS = {
    "--state": ("list",),
    "--owner": ("list",),
    "--model": ("result",),
    "--format": ("result",),
    "--out": ("result",),
    "--timeout": ("wait", "result"),
}


@click.command()
@server_options
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("job_ids", nargs=-1, metavar="[JOB]...")
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in JobState]),
    multiple=True,
    help="With list: only jobs in this state; may be repeated.",
)
@click.option("--owner", metavar="NAME", help="With list: only jobs of this user.")
@click.option(
    "--model",
    "model_path",
    type=MODEL_FILE,
    metavar="FILE",
    help="With result: the model that was submitted, for the energies.",
)
@format_option
@click.option(
    "--out",
    "out_path",
    type=OutputFile(".npz"),
    metavar="FILE.npz",
    help="With result: where to write spins, energies, amplitudes and provenance.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=SECONDS,
    metavar="SECONDS",
    help="With wait and result: how long to wait for the end of a job.  [default: no limit]",
)
@json_option
def jobs(
    machine: Target,
    action: str,
    job_ids: tuple[str, ...],
    *,
    states: tuple[str, ...],
    owner: str | None,
    model_path: Path | None,
    model_format: str | None,
    out_path: Path | None,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """List your jobs on the server TARGET, or wait for, fetch or end some of them.

    JOB is the id of a job or an unambiguous prefix of it. An operator also lists, shows and cancels
    the jobs of others. Acknowledging a job (ack) deletes its result; the server remembers its key,
    so that the job never runs again.

    \b
    Examples:
      cim-hal jobs tcp://127.0.0.1:5555 list
      cim-hal jobs tcp://127.0.0.1:5555 list --state queued --json
      cim-hal jobs tcp://127.0.0.1:5555 list --owner alice
      cim-hal jobs tcp://127.0.0.1:5555 wait 3f2a --timeout 60
      cim-hal jobs tcp://127.0.0.1:5555 result 3f2a --model G1.txt --out samples.npz
      cim-hal jobs tcp://127.0.0.1:5555 ack 3f2a
    """  # noqa: D301
    if (action == "list") == bool(job_ids):
        raise click.UsageError(f"{action} {'takes no' if job_ids else 'needs a'} JOB")
    _check_options(action, states or None, owner, model_path, model_format, out_path, timeout_s)
    if action == "result" and (model_path is None or len(job_ids) > 1):
        raise click.UsageError("result needs one JOB and the --model that was submitted")
    file = None if model_path is None else read_model(model_path, format=model_format)
    if action == "cancel" and all(len(job_id) == COMPLETE for job_id in job_ids):
        _cancel(machine, job_ids, as_json=as_json)
        return
    with machine.open() as session:
        if action == "list":
            listed = session.jobs(*states)
            _show_jobs([job for job in listed if owner in {None, job.owner}], as_json=as_json)
            return
        known = session.jobs()
        found = [_found_job(known, beginning) for beginning in job_ids]
        if action == "result" and file is not None:
            _fetch(session, found[0], file, out_path, timeout_s, as_json=as_json)
            return
        seen = {info.job: info.state for info in known}
        states_of = {name: _act(session, name, action, timeout_s, seen) for name in found}
        _show_these(session, states_of, as_json=as_json)


def _check_options(action: str, *given: object) -> None:
    """Refuse options that the action would not read, in the order of `FOR_ACTIONS`."""
    for (name, actions), value in zip(FOR_ACTIONS.items(), given, strict=True):
        if value is not None and action not in actions:
            raise click.UsageError(f"{name} is for {' and '.join(actions)}")


def _cancel(machine: Target, job_ids: Sequence[str], *, as_json: bool) -> None:
    """Cancel jobs by complete ids: without a session, so that it works whatever is used up."""
    with machine.connect() as session:
        states = {job_id: session.cancel(job_id) for job_id in job_ids}
        try:
            _show_these(session, states, as_json=as_json)
        except CimError:  # no session is left to list jobs
            facts = [{"job": job, "state": state.value} for job, state in states.items()]
            print_json(facts) if as_json else say(*(f"{f['job']}: {f['state']}" for f in facts))


def _show_these(session: Session, states: Mapping[str, JobState], *, as_json: bool) -> None:
    """Show jobs as the server lists them, and those that are gone with their states."""
    kept = [info for info in session.jobs() if info.job in states]
    gone = {job: state for job, state in states.items() if job not in {info.job for info in kept}}
    _show_jobs(kept, gone, as_json=as_json)


def _fetch(
    session: Session,
    job_id: str,
    file: ModelFile,
    out_path: Path | None,
    timeout_s: float | None,
    *,
    as_json: bool,
) -> None:
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
        print_json(facts)
        return
    say(f"{counted(len(samples), 'run')}, best energy {samples.best_energy:.10g}")


def _act(
    session: Session,
    job_id: str,
    action: str,
    timeout_s: float | None,
    seen: Mapping[str, JobState],
) -> JobState:
    """Do what only the owner of a job may, or what an operator may with any that it has `seen`."""
    match action:
        case "wait":
            return session.job(job_id).wait(timeout_s)
        case "cancel":
            return session.cancel(job_id)
        case "ack":
            return session.job(job_id).acknowledge()
        case _:
            return seen.get(job_id) or session.job(job_id).state


def _found_job(known: Sequence[JobInfo], beginning: str) -> str:
    """Return the id with this prefix; a complete id need not be in the list."""
    found = [info.job for info in known if info.job.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if len(beginning) == COMPLETE:
        return beginning
    raise click.UsageError(f"{len(found)} of your jobs on the server begin with {beginning}")


def _show_jobs(
    kept: Sequence[JobInfo], gone: Mapping[str, JobState] = NONE_GONE, *, as_json: bool
) -> None:
    """Print jobs, and the last known state of those that are not listed."""
    if as_json:
        facts = [info.model_dump(mode="json") for info in kept]
        facts += [{"job": job, "state": state.value, "gone": True} for job, state in gone.items()]
        print_json(facts)
        return
    if kept or not gone:
        print_table(*HEADINGS, rows=map(_job_row, kept))
    for job, state in gone.items():
        say(f"{job}: {state}, its result is gone")


def _job_row(info: JobInfo) -> tuple[str, ...]:
    done = info.progress
    share = f"{done.done} of {done.total} {done.unit}" if done is not None else ""
    state, age, n_bytes = info.state.value, f"{info.age_s:.0f} s", f"{info.n_bytes:,}"
    return (info.job[:12], state, info.owner, str(info.n_runs), age, n_bytes, share, info.reason)


@click.command()
@server_options
@click.argument("action", type=click.Choice(["list", "drop"]))
@click.argument("digests", nargs=-1, metavar="[DIGEST]...")
@json_option
def couplings(machine: Target, action: str, digests: tuple[str, ...], *, as_json: bool) -> None:
    """List the couplings that the server TARGET holds, or drop some of them.

    DIGEST is the digest of some couplings or an unambiguous prefix of it. Couplings that jobs need
    are not dropped; only an operator may drop couplings that other users loaded too.

    \b
    Examples:
      cim-hal couplings tcp://127.0.0.1:5555 list
      cim-hal couplings tcp://127.0.0.1:5555 drop sha256:5f1c
    """  # noqa: D301
    if (action == "drop") != bool(digests):
        raise click.UsageError(
            "drop needs a DIGEST" if action == "drop" else "list takes no DIGEST"
        )
    with machine.open() as session:
        held = session.couplings()
        if action == "list":
            _show_couplings(held, as_json=as_json)
            return
        for digest in [_found_couplings(held, digest) for digest in digests]:
            n_bytes = session.drop_couplings(digest)
            facts = json.dumps({"digest": digest, "n_bytes": n_bytes})
            say(facts if as_json else f"dropped {digest}: {n_bytes:,} bytes are free")


def _found_couplings(held: Iterable[HeldCouplings], beginning: str) -> str:
    found = [each.digest for each in held if each.digest.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    raise UnknownReferenceError(
        f"{len(found)} of the couplings on the server begin with {beginning}",
        hint="cim-hal couplings TARGET list shows the digests",
        kind="coupling",
    )


def _show_couplings(held: Iterable[HeldCouplings], *, as_json: bool) -> None:
    if as_json:
        print_json([each.model_dump() for each in held])
        return
    rows = (
        (c.digest[:23], f"{c.n_spins}", f"{c.n_bytes:,}", f"{c.fits}", readable(c.in_use))
        for c in held
    )
    print_table("couplings", "spins", "bytes", "lowered", "in use", rows=rows)
