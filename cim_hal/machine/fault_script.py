"""Fault scripts: which faults a test injects into a machine, and when."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cim_hal.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_FILE_BYTES", "Fault", "FaultScript", "Kind"]

MAX_FILE_BYTES = 64 * 1024
MAX_SECONDS = 86_400.0

Kind: TypeAlias = Literal[
    "lost_lock",
    "exception",
    "crash",
    "cut_short",
    "hang",
    "slow",
    "wrong_shape",
    "wrong_dtype",
    "nan",
    "no_description",
]

# Which of `at` and `seconds` a kind accepts, and which of them it needs.
TAKES: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        "lost_lock": frozenset({"at"}),
        "exception": frozenset({"at"}),
        "crash": frozenset({"at"}),
        "cut_short": frozenset({"at"}),
        "hang": frozenset({"seconds"}),
        "slow": frozenset({"seconds"}),
        "wrong_shape": frozenset(),
        "wrong_dtype": frozenset(),
        "nan": frozenset(),
        "no_description": frozenset(),
    }
)
NEEDS: Mapping[Kind, str] = MappingProxyType({"cut_short": "at", "slow": "seconds"})
WHEN = ("jobs", "every", "probability")

HINT = (
    "a script has seed and [[fault]] tables; a fault has kind, one of jobs, every and "
    "probability, and at or seconds where its kind takes it"
)

JobNumber = Annotated[int, Field(strict=True, ge=1)]


class Fault(BaseModel):
    """One kind of fault, and the jobs in which it occurs.

    Exactly one of `jobs`, `every` and `probability` is set; none for ``no_description``.

    Attributes
    ----------
    kind : str
        ``lost_lock``, ``exception``, ``crash``, ``cut_short``, ``hang``, ``slow``,
        ``wrong_shape``, ``wrong_dtype``, ``nan`` or ``no_description``; see `FaultyDriver`.
    jobs : tuple of int
        Numbers of the affected jobs; the first run of the machine is job 1.
    every : int
        Each job whose number is a multiple of this is affected.
    probability : float
        Probability that a job is affected, above 0 and at most 1; drawn from the seed of the
        script, the position of the fault in it and the number of the job.
    at : float
        Share of the round trips before the fault, 0 to 1: for ``lost_lock``, ``exception`` and
        ``crash`` (by default 1), and for ``cut_short``.
    seconds : float
        Length of a ``hang`` (by default endless), or delay of a ``slow`` answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    jobs: Annotated[tuple[JobNumber, ...], Field(min_length=1, max_length=10_000)] | None = None
    every: JobNumber | None = None
    probability: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    at: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    seconds: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)] | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        given = [name for name in WHEN if getattr(self, name) is not None]
        if self.kind == "no_description":
            if given:
                raise ValueError(f"no_description strikes before any job: it takes no {given[0]}")
        elif len(given) != 1:
            raise ValueError(
                f"{self.kind} needs exactly one of jobs, every and probability, "
                f"not {' and '.join(given) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _has_what_its_kind_takes(self) -> Self:
        for name in ("at", "seconds"):
            if getattr(self, name) is not None and name not in TAKES[self.kind]:
                raise ValueError(f"{self.kind} takes no {name}")
        needed = NEEDS.get(self.kind)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"{self.kind} needs {needed}")
        return self


class FaultScript(BaseModel):
    """The faults of a machine; the first one that applies to a job occurs.

    Attributes
    ----------
    seed : int
        Seed of the probabilities, 0 to 2^63 - 1.
    faults : tuple of Fault
        In a file, the tables ``[[fault]]``.

    Examples
    --------
    >>> script = FaultScript(faults=(Fault(kind="lost_lock", jobs=(3, 7)),))
    >>> [job for job in range(1, 10) if script.fault_in(job)]
    [3, 7]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    faults: Annotated[
        tuple[Fault, ...], Field(validation_alias="fault", min_length=1, max_length=1000)
    ]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises
        ------
        TargetError
            The file is missing, too large or malformed; the message names the table, and says what
            would be right.
        """
        file = Path(path)
        try:
            return cls.model_validate(tomllib.loads(_text(file)))
        except ValidationError as error:
            raise _explained(file, error) from None
        except (ValueError, RecursionError) as error:
            raise TargetError(f"{file} is not TOML: {error}") from None

    @property
    def summary(self) -> str:
        """The kinds of faults, and the seed."""
        return f"{', '.join(dict.fromkeys(f.kind for f in self.faults))}; seed {self.seed}"

    def has(self, kind: Kind) -> bool:
        """Whether the script has a fault of that kind."""
        return any(fault.kind == kind for fault in self.faults)

    def fault_in(self, job: int) -> Fault | None:
        """Return the fault of a job, by its number from 1, or None."""
        struck = (f for place, f in enumerate(self.faults) if self._strikes(f, place, job))
        return next(struck, None)

    def _strikes(self, fault: Fault, place: int, job: int) -> bool:
        if fault.jobs is not None:
            return job in fault.jobs
        if fault.every is not None:
            return job % fault.every == 0
        if fault.probability is not None:
            return _draw(self.seed, place, job) < fault.probability * 2**64
        return False


def _draw(seed: int, place: int, job: int) -> int:
    """Return an integer below 2^64; numpy guarantees that `SeedSequence` is stable."""
    words = np.random.SeedSequence(seed, spawn_key=(place, job)).generate_state(1, np.uint64)
    return int(words[0])


def _text(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():
            raise TargetError(f"{file} is not a file", hint="pass a TOML file with a fault script")
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TargetError(f"cannot read the fault script {file}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise TargetError(f"{file} is too large", hint=f"at most {MAX_FILE_BYTES} bytes are read")
    return data.decode("utf-8")


def _explained(file: Path, error: ValidationError) -> TargetError:
    """Return an error for the first problem: where, what, and what would be right."""
    found = error.errors(include_url=False, include_context=False)[0]
    place = _place(found["loc"])
    says = found["msg"].removeprefix("Value error, ").replace("tuple", "list")
    if found["type"] == "extra_forbidden":
        says = "there is no such key"
    # messages of the other types already say what would be right
    is_about_keys = found["type"] in {"extra_forbidden", "missing", "tuple_type", "model_type"}
    return TargetError(f"{file}: {place}: {says}", hint=HINT if is_about_keys else "")


def _place(steps: tuple[int | str, ...]) -> str:
    """Return for example ``[[fault]] number 2: jobs[0]``."""
    match steps:
        case ("fault", int(table), *rest):
            name = "".join(f"[{step}]" if isinstance(step, int) else f": {step}" for step in rest)
            return f"[[fault]] number {table + 1}{name}"
        case _:
            return ".".join(str(step) for step in steps)
