"""Provenance of samples: how couplings were lowered to a machine, and what it ran."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "MAX_NOTES",
    "ONE_LINE",
    "Diversity",
    "Fact",
    "FactName",
    "LoweringReport",
    "Note",
    "Notes",
    "Record",
    "RunRecord",
]

MAX_NOTES = 32
# What a one-line text on the wire may consist of: no controls (Cc), no formats such as bidi marks
# and zero-width spaces (Cf), no separators of lines and paragraphs (Zl, Zp).
ONE_LINE = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$"

FactName: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=ONE_LINE)]
Number: TypeAlias = (
    Annotated[float, Field(allow_inf_nan=False)] | Annotated[int, Field(ge=-(2**63), lt=2**63)]
)
Note: TypeAlias = bool | Number | Annotated[str, Field(max_length=200)]
Fact: TypeAlias = Note | None
Notes: TypeAlias = Annotated[dict[FactName, Note], Field(max_length=MAX_NOTES)]


class Record(BaseModel):
    """A frozen value without unknown fields; `max_bytes` bounds its JSON form, if it is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # On the wire some records share a header with other fields.
    max_bytes: ClassVar[int | None] = None

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        if self.max_bytes is not None:
            n_bytes = len(self.model_dump_json().encode())
            if n_bytes > self.max_bytes:
                raise ValueError(f"it takes {n_bytes} bytes, {self.max_bytes} fit: shorten it")
        return self


class LoweringReport(Record):
    """How lowering a model to a machine changed its numbers.

    Dense and sparse forms of one model give the same report: entries that are zero count.

    Attributes
    ----------
    bits : int or None
        Bits of a coupling, sign included; None where the machine takes real numbers.
    step : float
        Value of one integer level: J is close to ``step * levels``. 1 for real numbers.
    levels_used : int or None
        Number of distinct levels in the couplings, zero included; None for real numbers.
    max_error : float
        Largest rounding error of a coupling or field, in units of J.
    rms_error : float
        Root mean square of the rounding errors of all n² entries of J and all n of h, in units of
        J, where n is `machine_spins`.
    energy_error_bound : float
        Upper bound of the change of energy of any spin vector.
    field_spin : bool
        Whether the field was folded onto an auxiliary spin.
    gauge : bool
        Whether spins were flipped at random before the upload and back after the readout.
    machine_spins : int
        Spins occupied on the machine.
    """

    bits: int | None
    step: float
    levels_used: int | None
    max_error: float
    rms_error: float
    energy_error_bound: float
    field_spin: bool
    gauge: bool
    machine_spins: int


class Diversity(Record):
    r"""How many different samples there are among runs.

    Attributes
    ----------
    configurations : int
        Different spins; without a field a configuration and its negative are one.
    energies : int
        Different energies, within the tolerance of the model.
    effective_runs : float
        :math:`1 / \sum_k p_k^2`, with the share :math:`p_k` of the runs in each configuration: as
        many runs as there are where all differ, 1 where all are equal. Runs that all found the only
        optimum are equal as well as runs that are copies of each other.
    """

    configurations: int
    energies: int
    effective_runs: float


class RunRecord(Record):
    """The provenance of a sample set, for the laboratory book.

    Attributes
    ----------
    device : str
        Name the machine gives itself.
    job : str
        Identifier of the job on its server.
    coupling : str
        Content digest of the couplings as uploaded.
    seed : int
        Seed of the run.
    round_trips : int
        Length of each run.
    device_s : float
        Seconds the driver took for all runs, without those that the note ``compile_s`` tells.
    lowering : LoweringReport
        How the couplings were lowered to the machine.
    pump : tuple of float
        Knots of the pump schedule, in thresholds.
    settings : dict of str to float
        The settings that the job or a machine file changed; all others were the driver's own.
    notes : dict of str to float, int, bool or str
        What the machine noted about this run, and the client where it lowered the model.
    calibration : str
        Fingerprint of the calibration in force when the job ran; empty if there was none.
    diversity : Diversity or None
        How many different samples there are among the runs; computed by the client with the
        energies, None in messages of a server.
    """

    device: str
    job: str
    coupling: str
    seed: int
    round_trips: int
    device_s: float
    lowering: LoweringReport
    pump: tuple[float, ...] = ()
    settings: dict[str, float] = {}
    notes: Notes = {}
    calibration: str = ""
    diversity: Diversity | None = None
