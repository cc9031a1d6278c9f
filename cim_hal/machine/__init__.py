"""Machines: capabilities, lowering, the driver contract and the registry of drivers."""

from cim_hal.machine.calibration import Calibration
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import Driver, Program, Readout
from cim_hal.machine.fault_script import Fault, FaultScript
from cim_hal.machine.faulty_driver import FaultyDriver
from cim_hal.machine.lowering import Lowering, lower
from cim_hal.machine.quantize import Quantized, max_level, quantize
from cim_hal.machine.registry import RegisteredDriver, make_driver, registered_drivers
from cim_hal.machine.setting import Setting
from cim_hal.machine.stop import StopToken
from cim_hal.machine.telemetry import Reading, Telemetry

__all__ = [
    "Calibration",
    "Capabilities",
    "Driver",
    "Fault",
    "FaultScript",
    "FaultyDriver",
    "Lowering",
    "Program",
    "Quantized",
    "Reading",
    "Readout",
    "RegisteredDriver",
    "Setting",
    "StopToken",
    "Telemetry",
    "lower",
    "make_driver",
    "max_level",
    "quantize",
    "registered_drivers",
]
