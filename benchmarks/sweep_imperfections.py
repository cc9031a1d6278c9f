"""What the rarer imperfections cost, set as settings of a job: success on spin glasses.

Run as ``python benchmarks/sweep_imperfections.py``: it prints the tables of
docs/explanation/imperfections.md (some minutes on two cores). Spin glasses of 100 spins, +-1, 64
runs each, for each of eight seeds, which are the seed of the job and of the static errors.
The machine ``emulator`` makes 1000 round trips, others as many as they recommend. Intervals are
Student's over the seeds, 95 %.
"""

from __future__ import annotations

import argparse

import numpy as np
from adc_study import glasses
from scipy.stats import t as student

from cim_hal import PumpSchedule, open_device

RUNS = 64
SCHEDULE = {"emulator": PumpSchedule.linear(0.0, 1.1, round_trips=1000)}
TARGETS = ("emulator", "emulator-cac", "emulator-cfc", "emulator-sfc")
# settings of a row; imperfections without a prefix
PULSES = {
    "injection_spill": (0.01, 0.2),
    "modulator_swing_rad": (0.3, 1.5),
    "gain_drift": (0.01, 0.3),
    "phase_slip_rate": (1e-5, 1e-3),
    "pump_flicker": (0.003, 0.1),
    "pulse_slip_rate": (1e-5, 1e-3),
    "intermittent_fraction": (0.001, 0.1),
    "detector_phase_rad": (0.02, 1.2),
    "adc_inl": (0.001, 0.1),
    "adc_dnl": (0.3, 1.0),
    "job_phase_rad": (0.02, 0.6),
    "job_gain_error": (0.01, 0.3),
    "job_pump_error": (0.003, 0.1),
}
CONTROL = {
    "noise": (0.03, 0.3),
    "detector_noise": (0.03, 0.3),
    "injection_noise": (0.01, 0.3),
    "injection_gain_error": (0.02, 0.3),
    "coupling_error": (0.03, 0.2),
    "adc.bits": (6, 3),
    "dac.bits": (6, 3),
    "dead_fraction": (0.001, 0.03),
}
OWN = {"noise", "detector_noise", "adc.bits", "dac.bits"}


def success(session, models, settings, *, seeds: int) -> tuple[float, float]:
    """Return the mean success probability and half the width of its interval."""
    found, schedule = [], SCHEDULE.get(session.capabilities.name)
    for seed in range(1, seeds + 1):
        given = settings | {"imperfections.seed": seed}
        hits = [
            np.mean(
                session.sample(m, schedule, n_runs=RUNS, seed=seed, settings=given).energies
                <= E + 0.5
            )
            for m, E in models
        ]
        found.append(float(np.mean(hits)))
    error = np.std(found, ddof=1) / np.sqrt(seeds)
    return float(np.mean(found)), float(student.ppf(0.975, seeds - 1) * error)


def table(target: str, rows: dict[str, tuple[float, ...]], *, instances: int, seeds: int) -> None:
    """Print the table of a machine."""
    models = glasses(instances)
    print(f"\n| `{target}` | typical | P(ground state) | severe | P(ground state) |")
    print("|" + "---|" * 5)
    with open_device(target) as session:
        mean, half = success(session, models, {}, seeds=seeds)
        print(f"| nothing wrong | | {mean:.2f} ± {half:.2f} | | |", flush=True)
        for name, values in rows.items():
            path = name if name in OWN else f"imperfections.{name}"
            cells = []
            for value in values:
                mean, half = success(session, models, {path: value}, seeds=seeds)
                cells.append(f"{value:g} | {mean:.2f} ± {half:.2f}")
            print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--rows", nargs="+", help="Some imperfections only.")
    given = parser.parse_args()
    for target in given.targets:
        known = PULSES if target == "emulator" else CONTROL
        rows = {name: known[name] for name in given.rows or known}
        table(target, rows, instances=given.instances, seeds=given.seeds)


if __name__ == "__main__":
    main()
