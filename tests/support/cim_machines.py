"""Small real machines for tests: software drivers, each with one trait."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np

from cim_hal import (
    Calibration,
    Capabilities,
    Driver,
    JobCancelledError,
    Program,
    Reading,
    Readout,
    Setting,
    StopToken,
    Telemetry,
    Trace,
    emulated,
)


@emulated
class Annealer(Driver):
    """Heat-bath annealing: 8 bits, amplitudes, reproducible."""

    def __init__(self) -> None:
        self.n_closed = 0

    def describe(self) -> Capabilities:
        return Capabilities(
            name="annealer",
            max_spins=3000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=20,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        J = program.dense_coupling().astype(np.float64)
        spins = rng.choice([-1.0, 1.0], (program.n_runs, program.n_spins))
        scale = np.abs(J).sum(axis=1).max() or 1.0
        for pump in program.schedule.sample():
            if stop.is_set():
                raise JobCancelledError("stopped between two round trips")
            noise = rng.logistic(scale=scale / (1 + 20 * pump), size=spins.shape)
            for i in range(program.n_spins):
                spins[:, i] = np.where(2 * (spins @ J[i]) > noise[:, i], 1, -1)
        return Readout(spins * rng.uniform(0.5, 1.0, spins.shape))

    def close(self) -> None:
        self.n_closed += 1


@emulated
class Exhaustive(Driver):
    """Every spin vector is tried: real numbers, a field, bare spins."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="exhaustive", max_spins=12, coupling_bits=None, has_field=True, reproducible=True
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        J, h = program.dense_coupling(), program.field
        states = np.array(list(itertools.product([-1, 1], repeat=program.n_spins)))
        energies = -0.5 * np.einsum("ri,ij,rj->r", states, J, states) - states @ h
        best = states[np.argmin(energies)].astype(np.int8)
        return Readout(np.tile(best, (program.n_runs, 1)))


@emulated
class Patient(Driver):
    """A round trip takes a millisecond; tells which job it is in by touching nothing else."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="patient", max_spins=8, coupling_bits=8, default_round_trips=60_000
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        for _ in range(program.schedule.round_trips):
            if stop.is_set():
                raise JobCancelledError("stopped between two round trips")
            time.sleep(0.001)
        return Readout(np.ones((program.n_runs, program.n_spins), dtype=np.int8))


class Roomy(Patient):
    """As patient, and large."""

    def describe(self) -> Capabilities:
        return Capabilities(name="roomy", max_spins=5000, coupling_bits=None)


class Heralding(Patient):
    """Makes the file that ``CIM_HERALD`` names when a run begins."""

    def run(self, program: Program, stop: StopToken) -> Readout:
        Path(os.environ["CIM_HERALD"]).touch()
        return super().run(program, stop)


@emulated
class Random(Driver):
    """Random amplitudes at once, for many spins and runs: a source of large results."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="random",
            max_spins=5000,
            coupling_bits=None,
            reports_amplitudes=True,
            reproducible=True,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        shape = (program.n_runs, program.n_spins)
        return Readout(rng.standard_normal(shape, dtype=np.float32))


@emulated
class Adjustable(Driver):
    """Random walks of a width that a job may set; everything is reported, nothing is computed."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="adjustable",
            max_spins=5000,
            coupling_bits=None,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=20,
            properties={"length_m": 1e3, "lasers": 2, "is_warm": True, "maker": "", "bits": None},
            settings=(
                Setting(name="walk.width", unit="mm", default=1.0, low=0.1, high=10.0, log=True),
                Setting(name="flips", default=0, low=0, high=3, integer=True),
            ),
            reports_trace=True,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        width = program.settings.get("walk.width", 1.0)
        shape = (program.schedule.round_trips, program.n_runs, program.n_spins)
        walks = np.cumsum(width * rng.standard_normal(shape, dtype=np.float32), axis=0)
        walks *= (-1) ** int(program.settings.get("flips", 0))
        trace = None
        if program.trace is not None:
            at = program.trace.frames(program.schedule.round_trips)
            kept = walks[at - 1, : program.trace.runs]
            trace = Trace(at, program.schedule.sample()[at - 1], kept)
        notes = {"width_mm": width, "relocks": 3, "door": "open"}
        return Readout(walks[-1], trace, notes)


@emulated
class Faulty(Driver):
    """Breaks in a way that the seed chooses."""

    def describe(self) -> Capabilities:
        return Capabilities(name="faulty", max_spins=8, coupling_bits=8)

    def run(self, program: Program, stop: StopToken) -> Readout:
        shape = (program.n_runs, program.n_spins)
        match program.seed:
            case 0:
                raise ZeroDivisionError("the laser is off")
            case 1:
                return Readout(np.ones((program.n_runs, program.n_spins + 1), dtype=np.int8))
            case 2:
                return Readout(np.full(shape, np.nan))
            case 3:
                return Readout(np.zeros(shape, dtype=np.int8))
            case 4:
                return None  # pyright: ignore[reportReturnType]
            case 5:
                raise SystemExit(3)
            case _:
                return Readout(np.ones(shape, dtype=np.int8))


class Laboratory(Annealer):
    """Has all that a driver may have, and writes down what is asked of it.

    Attributes
    ----------
    calls : list of str
        Names of the methods called, in order, without `status`.
    lid : bool
        Whether the interlock of the lid is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.lid = True
        self.seen: list[Program] = []

    def describe(self) -> Capabilities:
        self.calls.append("describe")
        return super().describe()

    def program(self, program: Program) -> None:
        self.calls.append("program")

    def run(self, program: Program, stop: StopToken) -> Readout:
        self.calls.append("run")
        self.seen.append(program)
        stop.report(self.status())
        return super().run(program, stop)

    def status(self) -> Telemetry:
        return Telemetry(
            readings=(
                Reading(name="runs", value=self.calls.count("run")),
                Reading(name="pump_power", value=12.5, unit="mW"),
                Reading(name="cavity", value="locked"),
            ),
            interlocks={"lid": self.lid, "laser": True},
        )

    def calibrate(self, stop: StopToken) -> Calibration:
        self.calls.append("calibrate")
        return Calibration(valid_s=600.0, threshold_w=0.012, facts={"gain": 3, "by": "hand"})

    def safe(self) -> None:
        self.calls.append("safe")

    def close(self) -> None:
        self.calls.append("close")
