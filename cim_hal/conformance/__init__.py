"""Conformance checks: whether a machine behaves as its driver says."""

from cim_hal.conformance.machine_under_test import Cable, MachineUnderTest
from cim_hal.conformance.suite import CHECKS, Check, Level, Outcome, Report, Verdict, conform

__all__ = [
    "CHECKS",
    "Cable",
    "Check",
    "Level",
    "MachineUnderTest",
    "Outcome",
    "Report",
    "Verdict",
    "conform",
]
