"""Factors of a study that belong to a job, and not to the settings of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.errors import StudyError
from cim_hal.model.schedule import PumpSchedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cim_hal.machine.capabilities import Capabilities

__all__ = [
    "DEVICE",
    "JOB_FACTORS",
    "METHOD",
    "MODEL",
    "OPTION",
    "WHOLE_JOB_FACTORS",
    "check_job_factor",
    "is_of_machine",
    "is_text",
    "runs_of",
    "schedule_of",
]

WHOLE_JOB_FACTORS = ("coupling_bits", "round_trips", "runs")
MODEL = "model"  # a factor by which the models are others: a kind and size, or files
JOB_FACTORS = (*WHOLE_JOB_FACTORS, "pump_end", "lowering", MODEL)
METHOD = "method"  # a factor of trainings and their controls
DEVICE, OPTION = "device", "options."  # factors by which the machine is another one


def is_of_machine(name: str) -> bool:
    """Return whether levels of a factor are machines of their own: targets, or driver options."""
    return name == DEVICE or name.startswith(OPTION)


def is_text(name: str) -> bool:
    """Return whether levels of a factor are names."""
    return name in {DEVICE, "lowering", MODEL}


def runs_of(levels: Mapping[str, float | str], runs: int) -> int:
    """Return the runs of a job, those of the study where they are no factor."""
    return int(levels.get("runs", runs))


def check_job_factor(name: str, levels: Sequence[Any], capabilities: Capabilities) -> None:
    """Refuse levels that no job of a machine can have; those of `lowering` depend on models."""
    if name in {"lowering", MODEL}:
        return
    if name == "pump_end":
        for level in levels:
            capabilities.check_schedule(_ramp(float(level), capabilities))
        return
    low, most = {
        "coupling_bits": (2, capabilities.coupling_bits or 16),
        "round_trips": (1, capabilities.max_round_trips),
        "runs": (1, capabilities.max_runs),
    }[name]
    for level in levels:
        if level != int(level) or not low <= level <= most:
            raise StudyError(
                f"factor {name} = {level}: {capabilities.name} takes whole numbers from {low} to "
                f"{most}"
            )


def schedule_of(
    levels: Mapping[str, float | str], capabilities: Capabilities
) -> PumpSchedule | None:
    """Return the schedule of a job, None for the default of the machine."""
    trips = int(levels.get("round_trips", capabilities.default_round_trips))
    if "pump_end" in levels:
        return PumpSchedule(_ramp(float(levels["pump_end"]), capabilities).pump, trips)
    return PumpSchedule(capabilities.default_pump, trips) if "round_trips" in levels else None


def _ramp(end: float, capabilities: Capabilities) -> PumpSchedule:
    """Return the default schedule, scaled so that it ends at a pump rate."""
    default = capabilities.default_schedule
    if default.pump[-1] <= 0:
        raise StudyError(f"factor pump_end: the schedule of {capabilities.name} ends at no pump")
    scaled = tuple(rate * end / default.pump[-1] for rate in default.pump)
    return PumpSchedule(scaled, default.round_trips)
