"""Runs that a driver hands in before its readout: what they must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import DriverFaultError
from cim_hal.machine.driver import check_values

if TYPE_CHECKING:
    from cim_hal.machine.driver import Program

__all__ = ["Deliveries"]


class Deliveries:
    """The deliveries of one call.

    Attributes
    ----------
    n_runs : int
        Runs that were delivered.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._kind: str | None = None  # floats or integers
        self.n_runs = 0

    def check(self, values: Any) -> None:
        """Take note of runs, or refuse those that cannot be the next ones of the program.

        Raises
        ------
        DriverFaultError
            Wrong shape or values, as of `Readout.check`, no run at all, more than there are, or
            bare spins after amplitudes.
        """
        n_rows = len(values) if isinstance(values, np.ndarray) and values.ndim else 0
        left = self._program.n_runs - self.n_runs
        if not 1 <= n_rows <= left:
            raise DriverFaultError(f"a delivery of {n_rows} runs, where {left} are left")
        check_values("a delivery", values, (n_rows, self._program.n_spins))
        if self._kind not in {None, values.dtype.kind}:
            raise DriverFaultError("some deliveries are amplitudes, and some are bare spins")
        self._kind = values.dtype.kind
        self.n_runs += n_rows
