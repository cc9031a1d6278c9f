"""
First samples, and a network on your own data
=============================================

*For developers.* You state a small model, sample it on an emulated machine, and train a quantized
network on a table. The same program runs on a real machine: only the name of the target changes.
"""

# %%
# Open a machine
# --------------
#
# `emulator` is an emulated coherent Ising machine with measurement feedback. A machine says what
# it can do. Others are listed by ``cim-hal list``; :doc:`which one </how-to/which-emulator>`
# depends on your question.

from cim_hal import open_device

session = open_device("emulator")
machine = session.capabilities
print(machine.name, machine.max_spins, "spins,", machine.coupling_bits, "bits")
print(machine.default_schedule)
assert machine.default_schedule.round_trips == 2000

# %%
# State a model
# -------------
#
# A model has couplings J and a field h, and its energy is :math:`-\tfrac12 s^T J s - h^T s`, which
# the machine minimizes. Here is a ring of ten spins. Neighbours want to differ, and a weak field
# pulls the first spin up, so that one of the two alternating states is best.

import numpy as np

from cim_hal import IsingModel

J = np.zeros((10, 10))
for i in range(10):
    J[i, (i + 1) % 10] = J[(i + 1) % 10, i] = -1.0
h = np.zeros(10)
h[0] = 0.5
model = IsingModel.from_couplings(J, h)

# %%
# Sample it
# ---------
#
# A run takes the machine from vacuum to a readout; its signs are the spins. Samples come sorted by
# energy. Energies are those of *your* model, computed on your side in double precision.

from cim_hal import TraceRequest

samples = session.sample(model, n_runs=64, seed=7, trace=TraceRequest(every=5, runs=1))
print(samples.best, samples.best_energy)
print(f"{samples.success_probability(-10.5):.0%} of the runs found it")
assert samples.best_energy == -10.5
assert (hits := samples.success_probability(-10.5)) > 0.9, hits

# %%
# A QUBO, :math:`x^T Q x` of bits that are 0 or 1, is a model too, and spins become its bits again.
# Of this one, exactly one of three bits is best set, the last:

Q = [[-1, 2, 2], [0, -1, 2], [0, 0, -1.5]]
found = session.sample(IsingModel.from_qubo(Q), n_runs=16, seed=1)
x = (found.best + 1) // 2
print(x, found.best_energy)
assert x.tolist() == [0, 0, 1]
assert found.best_energy == -1.5

# %%
# The record says how the model was fitted to the machine, and the seed repeats the run exactly.

report = samples.record.lowering
print(report.bits, "bits,", report.machine_spins, "spins, largest rounding error", report.max_error)
again = session.sample(model, n_runs=64, seed=samples.record.seed)
assert (again.spins == samples.spins).all()

# %%
# See what the pulses did
# -----------------------
#
# Left, ten pulses of one run, at the full scale of the machine's converter, up or down. Where two
# neighbours agree lies a domain wall. Walls wander around the ring until they meet and vanish; then
# no pulse changes its sign any more. A pump that rises faster leaves no time for that: right, the
# energies of 64 runs at two lengths.

import matplotlib.pyplot as plt

from cim_hal import PumpSchedule

hasty = session.sample(model, PumpSchedule.linear(0.0, 1.1, round_trips=60), n_runs=64, seed=7)
trace = samples.trace
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.plot(trace.round_trips, trace.amplitudes[:, 0, :10], lw=0.8)
left.set(xlabel="round trip", ylabel="amplitude", title="One run")
bins = np.arange(-11, 3, 1)
right.hist([samples.energies, hasty.energies], bins, label=["2000 round trips", "60"])
right.set(xlabel="energy", ylabel="runs", title="64 runs")
right.legend()
figure.tight_layout()
session.close()

# %%
# Train a network on a table
# --------------------------
#
# `QuantizedNetworkClassifier` follows the conventions of scikit-learn. Its weights are integers of
# one or a few bits, and the machine finds them. Any table of numbers will do; this one, of 150
# flowers, comes with scikit-learn.

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from qnn_train import QuantizedNetworkClassifier

X, y = load_iris(return_X_y=True)
assert X.shape == (150, 4)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
network = QuantizedNetworkClassifier(
    hidden=4, device="emulator-dsb", sweeps=4, n_runs=8, random_state=1
)
print(network.estimate_cost(X_train, y_train))  # before the first call of a machine
network.fit(X_train, y_train)
print(network.summary_)

# %%
# Judge it by samples that it has not seen, with an interval, and beside a model without a machine.

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cim_hal.study import wilson

plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
for name, each in {"few bits": network, "logistic regression": plain}.items():
    right = int((each.predict(X_test) == y_test).sum())
    found = wilson(right / len(y_test), len(y_test))
    print(f"{name}: {right} of {len(y_test)} right, {found.low:.2f} to {found.high:.2f}")
    assert len(y_test) == 38
    assert right > 34

# %%
# On 38 samples these intervals are wide: they show that the network works, not which model is
# better.
#
# Next
# ----
#
# - From the shell: ``qnn-train fit TABLE.csv --target COLUMN`` does all of this, and ``predict``,
#   ``evaluate``, ``compare`` and ``export`` do the rest: :doc:`/how-to/own-data`.
# - On another machine: ``device="tcp://cim.lab:5555"``.
# - Every parameter: :doc:`/how-to/estimator`; what happens inside: :doc:`/explanation/training`.
