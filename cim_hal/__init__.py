"""A hardware abstraction layer for coherent Ising machines.

Names are imported on first use, so that ``import cim_hal`` and the help of commands are quick.
"""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from cim_hal.client import *
    from cim_hal.errors import *
    from cim_hal.machine import *
    from cim_hal.model import *

__all__ = [
    "AsyncDevicePool",
    "AsyncJob",
    "AsyncSession",
    "AuthenticationError",
    "Calibration",
    "Capabilities",
    "CapabilityError",
    "CimError",
    "DeviceError",
    "DevicePool",
    "Diversity",
    "Driver",
    "EmergencyStopError",
    "Fault",
    "FaultScript",
    "FaultyDriver",
    "IsingModel",
    "Job",
    "JobCancelledError",
    "JobError",
    "JobTimeoutError",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "LocalTransport",
    "LoopbackTransport",
    "LoweredModel",
    "Lowering",
    "LoweringReport",
    "MachineConfig",
    "ModelError",
    "Option",
    "PermissionDeniedError",
    "Program",
    "ProtocolError",
    "PumpSchedule",
    "Reading",
    "Readout",
    "Retries",
    "RunRecord",
    "Sample",
    "SampleSet",
    "Session",
    "Setting",
    "SpawnedServer",
    "SplitModel",
    "StopToken",
    "TargetError",
    "Telemetry",
    "Trace",
    "TraceRequest",
    "Transport",
    "TransportError",
    "Triangle",
    "Tuner",
    "emulated",
    "lower",
    "lower_by",
    "make_driver",
    "max_level",
    "open_device",
    "open_device_async",
    "quantize",
    "read_model",
    "registered_drivers",
    "spawn_server",
    "write_model",
]

# In the order in which they import each other: a name is looked up in the lightest one first.
_PACKAGES = ("errors", "model", "machine", "client")


def __getattr__(name: str) -> Any:
    return imported(__name__, name, __all__, _PACKAGES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
