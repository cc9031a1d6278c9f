"""A laboratory's machine to look at: an emulated one, with instruments that drift."""

from __future__ import annotations

import time

import numpy as np

from cim_hal import Capabilities, Driver, Program, Reading, Readout, StopToken, Telemetry
from emulator.presets import measurement_feedback_2000

__all__ = ["EmulatedBench"]

# name, unit, mean, standard deviation, correlation time in seconds
DRIFTS = (
    ("pump_power", "mW", 212.0, 1.8, 20.0),
    ("cavity_temperature", "°C", 24.62, 0.04, 60.0),
    ("squeezing", "dB", 3.1, 0.08, 8.0),
    ("lock_error", "mrad", 0.0, 2.4, 3.0),
)


class EmulatedBench(Driver):
    """The emulated machine of 2000 spins; its instruments are Ornstein-Uhlenbeck processes."""

    def __init__(self) -> None:
        self._machine = measurement_feedback_2000()
        self._rng = np.random.default_rng(1)
        self._values = np.zeros(len(DRIFTS))
        self._looked = time.monotonic()

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return self._machine.describe().model_copy(update={"name": "fibre-loop-2"})

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        return self._machine.run(program, stop)

    def status(self) -> Telemetry:  # noqa: D102
        elapsed, self._looked = time.monotonic() - self._looked, time.monotonic()
        kept = np.exp(-elapsed / np.array([drift[4] for drift in DRIFTS]))
        noise = self._rng.standard_normal(len(DRIFTS))
        self._values = kept * self._values + np.sqrt(1 - kept**2) * noise
        readings = [
            Reading(name=name, value=round(mean + width * float(value), 3), unit=unit)
            for (name, unit, mean, width, _), value in zip(DRIFTS, self._values, strict=True)
        ]
        return Telemetry(
            readings=(*readings, Reading(name="cavity_locked", value=True)),
            interlocks={"laser": True, "lid": True, "chiller": True},
        )

    def close(self) -> None:  # noqa: D102
        self._machine.close()
