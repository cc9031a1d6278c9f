"""Is a machine what its driver says: checks for any target, with witnesses of their own."""

from cim_hal.conformance.bench import Bench
from cim_hal.conformance.suite import CHECKS, conform
from cim_hal.conformance.verdict import Check, Level, Outcome, Report, Verdict

__all__ = ["CHECKS", "Bench", "Check", "Level", "Outcome", "Report", "Verdict", "conform"]
