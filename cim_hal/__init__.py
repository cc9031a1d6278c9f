"""A hardware abstraction layer for coherent Ising machines.

Names are imported on first use, so that ``import cim_hal`` and the help of commands are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_PACKAGES = ("cim_hal.errors", "cim_hal.model", "cim_hal.machine", "cim_hal.client")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cim-hal")
    if name in __all__:
        for package in map(import_module, _PACKAGES):
            if hasattr(package, name):
                value = globals()[name] = getattr(package, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
