"""Models, pump schedules and samples, as users see them."""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from cim_hal.model.file_writers import write_model
    from cim_hal.model.files import ModelFile, read_model
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import Diversity, LoweringReport, RunRecord
    from cim_hal.model.sampleset import Sample, SampleSet, Trace
    from cim_hal.model.schedule import PumpSchedule, TraceRequest
    from cim_hal.model.splitting import SplitModel
    from cim_hal.model.triangle import Triangle

__all__ = [
    "Diversity",
    "IsingModel",
    "LoweringReport",
    "ModelFile",
    "PumpSchedule",
    "RunRecord",
    "Sample",
    "SampleSet",
    "SplitModel",
    "Trace",
    "TraceRequest",
    "Triangle",
    "read_model",
    "write_model",
]

# The lightest first: a name is looked up in one after the other.
_MODULES = (
    "record",
    "ising",
    "schedule",
    "sampleset",
    "triangle",
    "files",
    "file_writers",
    "splitting",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _MODULES)


def __dir__() -> list[str]:
    return __all__
