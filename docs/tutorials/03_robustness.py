"""
Measure robustness
==================

*For whoever asks how good a machine must be.* You state a study in a file, run it, and read a curve
with intervals: how success depends on the bits of a coupling and on noise.
"""

# %%
# State the study
# ---------------
#
# A study names models, a machine, and the levels of each factor; all combinations are measured. The
# models here are twenty spin glasses of twelve spins from a seed, so small that their optimum is
# known by enumeration. Each point gets one job of 16 runs for each model.

import tempfile
from pathlib import Path

STUDY = """
[study]
name = "Bits and noise"
seed = 1

[[models.family]]
kind = "sk"
n = 12
count = 20

[machine]
device = "emulator-ideal"

[factors]
coupling_bits = [2, 3, 4, 8]
electronic_noise = [0, 10]

[repeat]
runs = 16
"""
folder = Path(tempfile.mkdtemp())
(folder / "bits.toml").write_text(STUDY)

# %%
# Run it
# ------
#
# From the shell: ``cim-hal sweep bits.toml --out bits`` (``--dry-run`` says first how many jobs
# that is, ``--resume`` goes on after an interruption). In Python:

from cim_hal.study import run_study

found = run_study(folder / "bits.toml", folder / "bits")
for point in found["points"]:
    print(
        point["factors"],
        f"{point['success_probability']:.2f} [{point['low']:.2f}, {point['high']:.2f}]",
    )

# %%
# See the curve
# -------------
#
# The bands hold 95 % *for all models of this kind*: models are drawn, runs of one model are not
# independent evidence. ``report.html``, which the command writes, has this picture and more. The
# grey line is no machine at all. It is an exact optimizer of the rounded models: what is missing
# above it, rounding has lost, and what is missing below it, the machine.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6.5, 4))
for noise in (0, 10):
    points = [each for each in found["points"] if each["factors"]["electronic_noise"] == noise]
    bits = [each["factors"]["coupling_bits"] for each in points]
    (line,) = axes.plot(bits, [each["success_probability"] for each in points], "o-")
    line.set_label(f"noise {noise}")
    lows, highs = [each["low"] for each in points], [each["high"] for each in points]
    axes.fill_between(bits, lows, highs, alpha=0.2)
axes.plot(bits, [each["rounded"] for each in points], "--", color="grey", label="rounding alone")
axes.set(xlabel="bits of a coupling", ylabel="success probability", ylim=(0, 1))
axes.legend(loc="center right")
figure.tight_layout()

# %%
# Read the verdicts
# -----------------
#
# Each level is compared with a reference chosen before any row is seen. All verdicts of a study
# are corrected for their number. A difference that was not found is called undecided, not absent.

for each in found["verdicts"]:
    print(each["verdict"])
assert [each["verdict"].split(":")[0] for each in found["verdicts"]] == [
    *(f"coupling_bits = {bits} against 8" for bits in (2, 3, 4)),
    "electronic_noise = 10 against 0",
]

# %%
# Twenty models of twelve spins leave wide intervals:

assert max(each["high"] - each["low"] for each in found["points"]) > 0.2

# %%
# To decide more, a study needs more models; more runs of the same models help little.
#
# Next
# ----
#
# - Every key of a study, time to solution, safe regions, trainings as the task:
#   :doc:`/how-to/run-a-study`.
# - Which imperfections there are, and what they do: :doc:`/explanation/imperfections`.
# - The smallest machine that is good enough: ``cim-hal requirements``. Measured curves beside
#   published ones: :doc:`/explanation/published-curves`.
