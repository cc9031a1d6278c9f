"""What is in the rows of a journal; a row that is damaged is a job that failed and says why."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cim_hal.errors import CimError, JobLostError
from cim_hal.model.record import LoweringReport
from cim_hal.model.schedule import PumpSchedule
from cim_hal.protocol.jobs.records import Accepted, Saved
from cim_hal.protocol.jobs.state import TERMINAL, JobState
from cim_hal.protocol.wire.base import ErrorMessage
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.jobs import Sample
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.server.storage.database import FETCHED
from cim_hal.server.storage.result_file import result_of

if TYPE_CHECKING:
    import sqlite3

    from cim_hal.protocol.wire.results import Result

__all__ = ["read_row", "saved_job"]

log = logging.getLogger(__name__)


def saved_job(row: sqlite3.Row, read_result: Callable[[str], Result]) -> Saved:
    """Return the job of a row; one that is damaged, or whose result is, as a failed one.

    Its key is remembered, so that it does not run again, and the row stays as it is.
    """
    try:
        return read_row(row, read_result)
    except Exception as error:  # noqa: BLE001  whatever is in a row: it is one job, not the server
        log.error("job %s has failed: its record is damaged: %s", row["id"], error)  # noqa: TRY400
        return Saved(
            job=str(row["id"]),
            user=str(row["user"]),
            digest=row["digest"] if isinstance(row["digest"], bytes) else b"",
            state=JobState.FAILED,
            error=to_wire(error if isinstance(error, JobLostError) else _damaged(error)),
            accepted=None,
            result=None,
            ended_at=time.time(),  # from now on it is remembered as long as others
        )


def read_row(row: sqlite3.Row, read_result: Callable[[str], Result]) -> Saved:
    """Return the job of a row; any exception where it is damaged."""
    state, error, result = JobState(row["state"]), row["error"], None
    if row["has_result"]:
        small = row["result"]
        result = read_result(row["id"]) if small is None else result_of(row["id"], small)
    if row["request"] is None and state not in TERMINAL:
        raise _damaged(ValueError("its request is missing"))
    if not isinstance(row["digest"], bytes):
        raise _damaged(TypeError(f"its digest is {row['digest']!r}"))
    return Saved(
        job=row["id"],
        user=row["user"],
        digest=row["digest"],
        state=state,
        error=None if error is None else ErrorMessage.model_validate_json(error),
        accepted=None if row["request"] is None else _accepted(row),
        result=result,
        ended_at=float(row["ended_at"]),
        is_fetched=row["has_result"] == FETCHED,
    )


def _damaged(error: Exception) -> JobLostError:
    why = error if isinstance(error, CimError) else f"{type(error).__name__}: {error}"
    return JobLostError(
        f"the record of the job is damaged in the journal of the server: {why}",
        hint="submit the job again, with a new key",
    )


def _accepted(row: sqlite3.Row) -> Accepted:
    fitted = json.loads(row["fitted"])
    return Accepted(
        job=row["id"],
        user=User(row["user"], Role(row["role"])),
        request=Sample.model_validate_json(row["request"]),
        digest=row["digest"],
        schedule=PumpSchedule(tuple(fitted["pump"]), fitted["round_trips"]),
        report=LoweringReport(**fitted["report"]),
        at=float(row["accepted_at"]),
    )
