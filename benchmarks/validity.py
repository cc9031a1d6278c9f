"""How far each dynamics with quantum noise is right: its moments against the master equation.

    python benchmarks/validity.py docs/explanation/_validity_table.txt

One pulse and a pair with couplings of both signs, below, at and above threshold. A row takes some
seconds; deviations are those of the model, of its time step and of the sample, whose standard
errors are given.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from emulator import Converter, GaussianFeedback, MeasurementFeedback, PositiveP, TruncatedWigner
from emulator.moments import SampledMoments, sampled_moments
from emulator.reference import Exact, master_equation

PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
SHAPES = {"1": np.zeros((1, 1)), "2, J > 0": PAIR, "2, J < 0": -PAIR}
ENOUGH, WORST_TAIL = 1e-4, 3e-3
IDEAL = Converter(full_scale=np.inf)


class Case(NamedTuple):
    """One row: the dynamics, its exact counterpart, couplings, pump and steps."""

    name: str
    dynamics: Any
    counterpart: Any
    shape: str
    pump: float
    lifetime: int  # in steps


def optical() -> Iterator[Case]:
    """Yield light that is coupled by splitters, with a threshold of 1 or 1 - xi = 0.7."""
    for A2, shape in ((6.0, shape) for shape in SHAPES):
        threshold = 1.0 if shape == "1" else 0.7
        for share in (0.6, 1.0, 1.4):
            options = {"saturation": A2**0.5, "coupling_gain": 0.3, "time_step": 0.02}
            for machine in (exact := PositiveP(**options), TruncatedWigner(**options)):
                yield Case(type(machine).__name__, machine, exact, shape, threshold * share, 50)


def measured() -> Iterator[Case]:
    """Yield measurement and feedback, continuous and in round trips of a hundredth lifetime."""
    dt, j = 0.01, 1.0
    for shape in SHAPES:
        threshold = 1.0 if shape == "1" else 0.8
        for share in (0.6, 1.0, 1.2):
            machine = GaussianFeedback(
                saturation=24.0**0.5, coupling_gain=0.2, time_step=dt, measurement_strength=j
            )
            round_trips = MeasurementFeedback(
                saturation=machine.saturation,
                coupling_gain=machine.coupling_gain,
                transmission=1 - 2 * dt,
                outcoupling=2 * j * dt,
                delay=0,
                adc=IDEAL,
                dac=IDEAL,
            )
            for some in (machine, round_trips):
                yield Case(type(some).__name__, some, machine, shape, threshold * share, 50)


@cache
def exact_of(counterpart: Any, shape: str, pump: float) -> Exact:
    """Solve with as many levels as the state needs."""
    *fewer, most = (40, 80) if shape == "1" else (14, 20)
    for levels in fewer:
        exact = master_equation(counterpart, SHAPES[shape], pump=pump, levels=levels).steady_state()
        if exact.tail < ENOUGH:
            return exact
    return master_equation(counterpart, SHAPES[shape], pump=pump, levels=most).steady_state()


def deviation(exact: Exact, sampled: SampledMoments, name: str, place: tuple[int, int]) -> str:
    """Return how far a moment is off, in per cent, and its standard error."""
    value = getattr(exact.moments, name)[place]
    found, error = (getattr(part, name)[place] for part in sampled)
    return f"{100 * (found / value - 1):+.1f} ± {100 * abs(error / value):.1f}"


def row(case: Case, runs: int) -> str:
    """Return a line of the table."""
    exact = exact_of(case.counterpart, case.shape, case.pump)
    sampled = sampled_moments(
        case.dynamics,
        SHAPES[case.shape],
        pump=case.pump,
        settle=15 * case.lifetime,
        samples=8,
        spacing=2 * case.lifetime,
        n_runs=runs,
    )
    n = len(SHAPES[case.shape])
    cells = [deviation(exact, sampled, "x", (0, 0))]
    pairs = (("x", (0, 1)), ("x_fourth", (0, 1)))
    cells += [deviation(exact, sampled, *pair) for pair in pairs] if n == 2 else ["", ""]
    known = f"{exact.moments.x[0, 0]:.3f}" + (" (levels)" if exact.tail > WORST_TAIL else "")
    head = [f"`{case.name}`", case.shape, f"{case.dynamics.saturation**2:.0f}", f"{case.pump:.2f}"]
    return f"| {' | '.join([*head, known, *cells])} |"


HEAD = ("dynamics", "pulses", "$A_s^2$", "p", "⟨X²⟩ exact", "⟨X²⟩ off, %", "⟨X₁X₂⟩", "⟨X₁²X₂²⟩")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=20_000)
    given = parser.parse_args()
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    console = Console(stderr=True)
    for case in sorted((*optical(), *measured()), key=lambda case: case.name, reverse=True):
        lines.append(row(case, given.runs))
        console.print(lines[-1])
    given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
