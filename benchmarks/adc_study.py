"""How many bits an ADC needs: at a full scale that stays, and reranged at each number of bits.

Run as ``python benchmarks/adc_study.py``: it prints the table of docs/explanation/imperfections.md
(a minute on two cores). Spin glasses of 100 spins (Sherrington-Kirkpatrick, +-1), the machine
``emulator`` with an ideal DAC, at its default saturation and with less noise, everything else as it
is, set as a job's settings.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from cim_hal import IsingModel, PumpSchedule, open_device

SHARED = Path(os.environ.get("CIM_SHARED_DIR", Path(__file__).parents[2] / "shared"))
IDEAL, FIXED, RERANGED = 0, {"adc.full_scale": 0.12}, {"adc.reranged": 1}
KINDS = {
    "mid-tread, 0.12": FIXED,
    "mid-rise, 0.12": FIXED | {"adc.mid_rise": 1},
    "mid-tread, reranged": RERANGED,
    "mid-rise, reranged": RERANGED | {"adc.mid_rise": 1},
}


def glasses(n_instances: int) -> list[tuple[IsingModel, float]]:
    """Return models with their ground-state energies."""
    with np.load(SHARED / "instances/sk/SK1_N100.npz") as archive:
        weights, listed = archive["W"].astype(float), archive["listed_ground_energies"]
    pairs = zip(weights[:n_instances], listed, strict=False)
    return [(IsingModel.from_maxcut(W), float(E)) for W, E in pairs]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability."""
    z, p = 1.96, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(centre - half), float(centre + half)


def row(session, models, settings: dict[str, float], *, runs: int, round_trips: int) -> str:
    """Return two cells: success with its interval, and the share of vacuum in the dead zone."""
    schedule = PumpSchedule.linear(0.0, 1.1, round_trips=round_trips)
    hits = 0
    for seed, (model, ground) in enumerate(models):
        samples = session.sample(model, schedule, n_runs=runs, seed=seed, settings=settings)
        hits += int(np.count_nonzero(samples.energies <= ground + 0.5))
    low, high = wilson(hits, runs * len(models))
    silent = samples.record.notes.get("vacuum_dead_zone_share", 0.0)
    p = hits / (runs * len(models))
    return f"{p:.3f} [{low:.3f}, {high:.3f}] | {silent:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--round-trips", type=int, default=500)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4, 3, 2, 1])
    parser.add_argument("--saturations", type=float, nargs="+", default=[25.0, 300.0])
    given = parser.parse_args()
    models, size = glasses(given.instances), {"runs": given.runs, "round_trips": given.round_trips}
    kinds = [(IDEAL, "ideal, 0.12", FIXED)]
    kinds += [
        (bits, name, kind)
        for bits in given.bits
        for name, kind in KINDS.items()
        if bits > 1 or "tread" not in name
    ]
    heads = [f" saturation {each:g}: P(ground state) | dead zone |" for each in given.saturations]
    print(f"| ADC bits | kind, full scale |{''.join(heads)}")
    print("|---|---|" + "---|---|" * len(heads))
    with open_device("emulator") as session:
        for bits, name, kind in kinds:
            known = {"dac.bits": IDEAL, "adc.bits": bits, **kind}
            cells = [
                row(session, models, known | {"saturation": each}, **size)
                for each in given.saturations
            ]
            print(f"| {bits or 'none'} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
