"""What is wrong with a real machine: options, the errors of one machine, and its phase."""

from emulator.imperfections.disorder import Disorder, disturbed
from emulator.imperfections.options import Imperfections
from emulator.imperfections.phase import PhaseWalk

__all__ = ["Disorder", "Imperfections", "PhaseWalk", "disturbed"]
