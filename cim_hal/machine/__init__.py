"""Machines: capabilities, lowering, the driver contract and the registry of drivers."""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities, Setting
    from cim_hal.machine.config import MachineConfig
    from cim_hal.machine.driver import (
        Driver,
        Program,
        Readout,
        StopToken,
    )
    from cim_hal.machine.faulty_driver import Fault, FaultScript, FaultyDriver
    from cim_hal.machine.lowering import Lowering, Quantized, lower, max_level, quantize
    from cim_hal.machine.options import Option
    from cim_hal.machine.policies import LoweredModel, lower_by
    from cim_hal.machine.registry import RegisteredDriver, emulated, make_driver, registered_drivers
    from cim_hal.machine.telemetry import Calibration, Reading, Telemetry

__all__ = [
    "Calibration",
    "Capabilities",
    "Driver",
    "Fault",
    "FaultScript",
    "FaultyDriver",
    "LoweredModel",
    "Lowering",
    "MachineConfig",
    "Option",
    "Program",
    "Quantized",
    "Reading",
    "Readout",
    "RegisteredDriver",
    "Setting",
    "StopToken",
    "Telemetry",
    "emulated",
    "lower",
    "lower_by",
    "make_driver",
    "max_level",
    "quantize",
    "registered_drivers",
]

# The lightest first: a name is looked up in one after the other.
_MODULES = (
    "telemetry",
    "capabilities",
    "lowering",
    "driver",
    "options",
    "config",
    "registry",
    "faulty_driver",
    "policies",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _MODULES)


def __dir__() -> list[str]:
    return __all__
