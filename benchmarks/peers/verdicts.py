"""What was aimed at, against what was measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from instances import INSTANCES
from solvers import BARE_PRODUCT, CIM_KINDS, FEEDBACK, FEEDBACK_FLOATS, SOLVERS, Solver

from emulator import time_to_solution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LEAST_SUCCESSES", "Verdict", "best_time", "is_busy", "verdicts"]

# Our speed over that of the fastest peer that is a coherent Ising machine.
CIM_AIMS = {"G22": 10.0, "SK100": 3.0, "D550": 2.0}
OUR_CIMS = ("measurement feedback", "mean field", "CAC", "CFC")
SPARSE, DENSE = ("G1", "G22"), ("SK100", "D550", "K2000")
# Load average of the clock above which a second thread was not there to be had; two are ours.
BUSY = 3.0
# A result without successes has no time; one or two are not enough for an estimate either.
LEAST_SUCCESSES = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An aim, the figures and whether they reach it."""

    aim: str
    measured: str
    holds: bool


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    """Return a verdict on every aim there are figures for."""
    found = [*_against_machines(results), *_against_bifurcation(results)]
    found += [*_against_product(results), *_second_threads(results), *_times(results)]
    return found


def best_time(trial: Mapping[str, Any], number: int) -> tuple[int, int, float, int] | None:
    """Return (successes, runs, seconds of a run, steps) of the length that solves soonest.

    None where no length succeeded often enough. `number` is that of the target.
    """
    candidates = [
        (cell["successes"][number], cell["runs"], cell["run_s"], int(steps))
        for steps, cell in trial["lengths"].items()
        if cell["successes"][number] >= LEAST_SUCCESSES and cell["run_s"] > 0
    ]
    return min(candidates, key=lambda c: time_to_solution(c[0] / c[1], c[2]), default=None)


def _speeds(results: Mapping[str, Any], name: str, threads: int = 1) -> dict[Solver, float]:
    cells = results.get(f"speed/{name}/{threads}", {})
    return {
        solver: statistics.median(cells[solver.name]["speeds"])
        for solver in SOLVERS
        if cells.get(solver.name, {}).get("speeds")
    }


def _against_machines(results: Mapping[str, Any]) -> Iterator[Verdict]:
    for name, factor in CIM_AIMS.items():
        speeds = {s: v for s, v in _speeds(results, name).items() if not s.changed}
        ours = {s.kind: v for s, v in speeds.items() if s.is_ours and s.kind in OUR_CIMS}
        peers = {s: v for s, v in speeds.items() if not s.is_ours and s.kind in CIM_KINDS}
        if not ours or not peers:
            continue
        fastest = max(peers, key=lambda solver: peers[solver])
        ratios = {kind: speed / peers[fastest] for kind, speed in ours.items()}
        yield Verdict(
            aim=f"{name}: {factor:g} times the fastest machine of the peers ({fastest.name})",
            measured=", ".join(f"{kind} {ratio:.1f}" for kind, ratio in ratios.items()),
            holds=max(ratios.values()) >= factor,
        )
        alike = {}
        for kind, speed in ours.items():
            of_kind = [v for s, v in peers.items() if s.kind == kind]
            alike |= {kind: speed / max(of_kind)} if of_kind else {}
        yield Verdict(
            aim=f"{name}: {factor:g} times the fastest peer of the same kind, each kind",
            measured=", ".join(f"{kind} {ratio:.1f}" for kind, ratio in alike.items()),
            holds=min(alike.values(), default=0.0) >= factor,
        )


def _against_bifurcation(results: Mapping[str, Any]) -> Iterator[Verdict]:
    aims = [(kind, name, 2.0, "sparse") for kind in ("bSB", "dSB") for name in SPARSE]
    aims += [("bSB", name, 1.0, "dense, float32") for name in DENSE]
    aims += [("dSB", name, 2.0, "dense, integers") for name in DENSE]
    for kind, name, factor, form in aims:
        speeds = {s: v for s, v in _speeds(results, name).items() if s.kind == kind}
        ours = [v for s, v in speeds.items() if s.is_ours]
        theirs = [v for s, v in speeds.items() if s.package == "simulated-bifurcation"]
        if ours and theirs:
            ratio = ours[0] / theirs[0]
            yield Verdict(
                aim=f"{kind} on {name} ({form}): {factor:g} times simulated-bifurcation",
                measured=f"{ratio:.2f}",
                holds=ratio >= factor,
            )


def _times(results: Mapping[str, Any]) -> Iterator[Verdict]:
    for name in INSTANCES:
        cells = results.get(f"solution/{name}/1", {})
        times: dict[Solver, float] = {}
        for solver in SOLVERS:
            found = best_time(cells[solver.name], 0) if solver.name in cells else None
            if found is not None:
                times[solver] = time_to_solution(found[0] / found[1], found[2])
        ours, theirs = (
            min((s for s in times if s.is_ours == side), key=lambda s: times[s], default=None)
            for side in (True, False)
        )
        if ours is not None and theirs is not None:
            yield Verdict(
                aim=f"{name}: sooner at 99 % than the best peer ({theirs.name})",
                measured=f"{times[theirs] / times[ours]:.1f} times ({ours.name})",
                holds=times[ours] < times[theirs],
            )


def _against_product(results: Mapping[str, Any]) -> Iterator[Verdict]:
    for name in ("D550", "K2000"):
        speeds = _speeds(results, name)
        if FEEDBACK_FLOATS in speeds and BARE_PRODUCT in speeds:
            share = speeds[FEEDBACK_FLOATS] / speeds[BARE_PRODUCT]
            yield Verdict(
                aim=f"{name}, products in float32: 70 % of the bare product",
                measured=f"{share:.0%}",
                holds=share >= 0.7,
            )
    speeds = _speeds(results, "K2000")
    if FEEDBACK in speeds and FEEDBACK_FLOATS in speeds:
        ratio = speeds[FEEDBACK] / speeds[FEEDBACK_FLOATS]
        yield Verdict(
            aim="K2000, products in bytes: 2 times float32",
            measured=f"{ratio:.2f}",
            holds=ratio >= 2.0,
        )
    sparse = _speeds(results, "G22").get(FEEDBACK)
    if sparse is not None:
        yield Verdict(
            aim="G22: measurement feedback makes 200 million updates a second",
            measured=f"{sparse / 1e6:.0f}",
            holds=sparse >= 200e6,
        )


def is_busy(results: Mapping[str, Any]) -> bool:
    """Whether other load took the second thread."""
    loads = [cells.get("load", 0) for key, cells in results.items() if key.endswith("/2")]
    return max(loads, default=0) > BUSY


def _second_threads(results: Mapping[str, Any]) -> Iterator[Verdict]:
    for name in () if is_busy(results) else ("D550", "G22", "K2000"):
        one, two = (_speeds(results, name, threads).get(FEEDBACK) for threads in (1, 2))
        if one is not None and two is not None:
            yield Verdict(
                aim=f"{name}: measurement feedback 1.7 times as fast with a second thread",
                measured=f"{two / one:.2f}",
                holds=two >= 1.7 * one,
            )
