"""The runs of a job: partial results that the driver delivers, and the whole result at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import DriverFaultError
from cim_hal.machine.driver import PartialReadouts, Readout
from cim_hal.model.record import MAX_NOTES
from cim_hal.model.sampleset import Trace
from cim_hal.protocol.wire.results import Result, pack_spins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.record import Note
    from cim_hal.protocol.effects import Run

__all__ = ["ResultCollector"]

log = logging.getLogger(__name__)


class ResultCollector:
    """Collects the results of one call of a driver, in the caller's spins.

    One thread adds runs, to rows that never move; any thread may read them. After runs were added
    `announce` is called with this collector, once until `partial` is called.
    """

    def __init__(
        self, order: Run, announce: Callable[[ResultCollector], None], *, keeps_amplitudes: bool
    ) -> None:
        self.job = order.job
        self._program = order.program
        self._deliveries = PartialReadouts(order.program)
        self._keeps_amplitudes = keeps_amplitudes
        self._announce = announce
        self._is_announced = False
        self._began = time.perf_counter()
        self._device_s = 0.0
        self._rows: list[NDArray[Any]] = []  # packed spins, and amplitudes where there are any
        self._n_runs = 0
        self._kept: Result | None = None

    def begin(self) -> None:
        """Start the clock: the driver is called now."""
        self._began = time.perf_counter()

    def add(self, values: NDArray[Any]) -> None:
        """Add runs that the driver delivers; `DriverFaultError` if they do not fit the program."""
        self._deliveries.check(values)
        lifted = self._lifted(Readout(values))
        # np.empty takes no memory before it is written to.
        n_runs = self._program.n_runs
        rows = self._rows or [np.empty((n_runs, *part.shape[1:]), part.dtype) for part in lifted]
        first, last = self._n_runs, self._deliveries.n_runs
        for kept, part in zip(rows, lifted, strict=True):
            kept[first:last] = part
        self._device_s = time.perf_counter() - self._began
        self._rows, self._n_runs = rows, last
        if not self._is_announced:
            self._is_announced = True
            self._announce(self)

    def add_rest(self, readout: Readout) -> None:
        """Add the runs of a whole readout that were not added before, as partial results."""
        if self._n_runs < len(readout.values):
            self.add(readout.values[self._n_runs :])

    def partial(self) -> Result:
        """Return the runs so far; needs at least one. Its arrays are read-only views."""
        self._is_announced = False
        if self._kept is not None:
            return self._kept
        device_s, n_runs = self._device_s, self._n_runs
        return self._result([_frozen(rows[:n_runs]) for rows in self._rows], device_s)

    def complete(self, readout: Readout, device_s: float) -> Result:
        """Return the whole result; `DriverFaultError` if it does not begin with the runs added."""
        lifted, n_runs = self._lifted(readout), self._n_runs
        pairs = zip(lifted, self._rows, strict=False)
        is_same = all(np.array_equal(part[:n_runs], kept[:n_runs]) for part, kept in pairs)
        if n_runs and not (is_same and len(lifted) == len(self._rows)):
            raise DriverFaultError(
                "the readout does not begin with the runs that were delivered",
                hint="a delivery is an early look at finished runs: they must not change",
            )
        findings = readout.findings
        if findings:
            said = ", ".join(f"{name} = {value}" for name, value in findings.items())
            log.warning(
                "a readout as of a broken part, which a sound machine can give too: %s", said
            )
        device_s = max(device_s - readout.compile_s, 0.0)
        at_most = dict(islice((findings | dict(readout.notes)).items(), MAX_NOTES))
        return self._result(lifted, device_s, self._trace(readout), at_most)

    def keep_partial(self, keep: Callable[[str, Result], Result]) -> None:
        """Store the runs so far with `keep`; from now on `partial` returns what it returned."""
        self._kept = keep(self.job, self.partial())

    @property
    def has_runs(self) -> bool:
        """Whether runs were added."""
        return self._n_runs > 0

    def _lifted(self, readout: Readout) -> list[NDArray[Any]]:
        lowering, amplitudes = self._program.lowering, readout.amplitudes
        spins = pack_spins(lowering.lift(readout.spins))
        if amplitudes is None or not self._keeps_amplitudes:
            return [spins]
        return [spins, lowering.lift(amplitudes)]

    def _trace(self, readout: Readout) -> Trace | None:
        if readout.trace is None or self._program.trace is None:
            return None
        return Trace(
            np.asarray(readout.trace.round_trips, np.int64),
            np.asarray(readout.trace.pump, np.float64),
            self._program.lowering.lift(np.asarray(readout.trace.amplitudes, np.float32)),
        )

    def _result(
        self,
        rows: Sequence[NDArray[Any]],
        device_s: float,
        trace: Trace | None = None,
        notes: Mapping[str, Note] | None = None,
    ) -> Result:
        record, lowering = self._program.calibration, self._program.lowering
        return Result(
            rows[0],
            rows[1] if len(rows) > 1 else None,
            self._program.n_spins - lowering.report.field_spin,
            device_s,
            trace,
            notes or {},
            record.fingerprint if record else "",
        )


def _frozen(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a view, made read-only."""
    rows.flags.writeable = False
    return rows
