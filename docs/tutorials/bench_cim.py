"""A driver as a laboratory writes it; its hardware is a pretend FPGA."""

import numpy as np

from cim_hal import Capabilities, Driver, JobCancelledError, Program, Readout, StopToken


class PretendFpga:
    """Stands for the laboratory's own library: couplings in, round trips, amplitudes out."""

    def load(self, couplings: np.ndarray, seed: int, runs: int) -> None:
        self.J = couplings / max(1, np.abs(couplings).sum(axis=1).max())
        self.x = 1e-2 * np.random.default_rng(seed).normal(size=(runs, len(couplings)))

    def advance(self, pump: float) -> None:
        self.x += 0.1 * ((pump - 1 - self.x**2) * self.x + self.x @ self.J)


class BenchCim(Driver):
    """The machine on our bench."""

    def __init__(self) -> None:
        self._fpga = PretendFpga()

    def describe(self) -> Capabilities:
        return Capabilities(
            name="bench-1",
            description="100 pulses, 8-bit couplings",
            max_spins=100,
            coupling_bits=8,
            max_round_trips=10_000,
            max_runs=1_000,
            reports_amplitudes=True,
            reproducible=True,
            default_pump=(0.5, 1.5),
            default_round_trips=300,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        self._fpga.load(program.dense_coupling(), program.seed, program.n_runs)
        for round_trip, pump in enumerate(program.schedule.sample()):
            if stop.is_set():
                raise JobCancelledError(f"cancelled at round trip {round_trip}")
            self._fpga.advance(pump)
        return Readout(self._fpga.x)
