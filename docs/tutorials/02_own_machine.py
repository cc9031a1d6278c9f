"""
Put a machine behind the protocol
=================================

*For laboratories.* You write a driver of two methods, prove it, and serve it. Users then reach the
machine by an address, with a queue, exact repeats and quantization done for them.
"""

# %%
# Write the driver
# ----------------
#
# `describe` says what the machine can do. `run` takes a program from vacuum to a readout. The
# server calls it from one thread, and only with programs that fit what `describe` said: couplings
# are integers of the right number of bits. This is the whole file ``bench_cim.py``; replace
# ``PretendFpga`` by your own library. ``cim-hal new-driver bench-1`` makes a package like it, with
# tests.
#
# .. literalinclude:: ../tutorials/bench_cim.py
#    :language: python
#
# Try it in your own process first. A square of four spins, whose neighbours want to differ:

from bench_cim import BenchCim

from cim_hal import IsingModel, open_device

square = IsingModel.from_maxcut([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
with open_device(BenchCim()) as session:
    samples = session.sample(square, n_runs=20, seed=3)
print(samples.best, "cuts", square.cut(samples.best), "of 4 edges on", samples.record.device)
assert square.cut(samples.best) == 4

# %%
# Prove it
# --------
#
# `conform` holds the machine against what its driver says of it: signs, places, limits, seeds,
# cancelling. Its witness is its own: nothing is believed because the machine says so. From the
# shell it is ``cim-hal conform bench_cim:BenchCim``, in the folder of ``bench_cim.py``.

from cim_hal.conformance import MachineUnderTest, conform

with open_device(BenchCim()) as session:
    verdicts = list(conform(MachineUnderTest(session, seed=1)))
for verdict in verdicts:
    print(f"{verdict.outcome:8} {verdict.name}")
assert {verdict.outcome for verdict in verdicts} <= {"passed", "skipped"}

# %%
# What a machine does not claim is skipped. Would a fault be found? This machine reads every second
# pulse with the wrong sign. Its samples look plausible, and it fails:


class EverySecondInverted(BenchCim):
    def run(self, program, stop):
        readout = super().run(program, stop)
        return type(readout)(readout.amplitudes * [[(-1) ** i for i in range(program.n_spins)]])


with open_device(EverySecondInverted()) as session:
    failed = [
        verdict
        for verdict in conform(MachineUnderTest(session, seed=1))
        if verdict.outcome == "failed"
    ]
for verdict in failed:
    print(f"{verdict.name}: {verdict.said}")
assert {"coupling-signs", "right-places"} <= {verdict.name for verdict in failed}

# %%
# Serve it
# --------
#
# ``cim-hal serve bench_cim:BenchCim --bind tcp://127.0.0.1:5555`` serves any driver that can be
# imported, also from the current folder. The driver has its own process: if it crashes, the job
# fails with the reason, and the server goes on. `spawn_server` does the same for programs.

import matplotlib.pyplot as plt
import numpy as np

from cim_hal import PumpSchedule, spawn_server
from cim_hal.study import wilson

couplings = np.triu(np.random.default_rng(4).integers(-9, 10, size=(16, 16)), 1)
glass = IsingModel.from_couplings(couplings + couplings.T)
lengths = (30, 60, 120, 300, 1000)
with spawn_server("bench_cim:BenchCim") as server, open_device(server.endpoint) as session:
    print("served as", session.capabilities.name)
    found = [
        session.sample(glass, PumpSchedule.linear(0.5, 1.5, round_trips=n), n_runs=200, seed=1)
        for n in lengths
    ]

# %%
# The first picture of a new machine: how its energies follow from the length of a run. The bars
# hold the middle half of 200 runs, the dots are the best.

quarters = np.array([np.quantile(each.energies, (0.25, 0.5, 0.75)) for each in found]).T
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.vlines(lengths, quarters[0], quarters[2], lw=6, alpha=0.4)
axes.plot(lengths, quarters[1], "-", label="median")
axes.plot(lengths, [each.best_energy for each in found], "o", label="best of 200 runs")
axes.set(xscale="log", xlabel="round trips", ylabel="energy", title="bench-1, a glass of 16 spins")
axes.legend()
figure.tight_layout()

# %%
# The share of runs that reach the lowest energy seen, with its interval:

least = min(each.best_energy for each in found)
for n, each in zip(lengths, found, strict=True):
    hits = int((each.energies <= least + 1e-9).sum())
    share = wilson(hits / 200, 200)
    print(f"{n:5} round trips: {hits:3} of 200, {share.low:.2f} to {share.high:.2f}")

# %%
# Next
# ----
#
# - Host, port and ranges as options, telemetry, interlocks and calibration:
#   :doc:`/how-to/write-a-driver` and :doc:`/how-to/calibrate-a-machine`.
# - Keys and roles: :doc:`/how-to/secure-a-machine`; locks and turns:
#   :doc:`/how-to/share-a-machine`.
# - A driver in C, or in an older Python: :doc:`/reference/driver-pipe`.
