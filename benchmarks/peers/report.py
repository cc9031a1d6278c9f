"""Tables of what was measured, in Markdown."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from instances import INSTANCES, TARGETS
from solvers import SOLVERS, Solver
from verdicts import LEAST_SUCCESSES, best_time, is_busy, verdicts

from emulator import SuccessProbability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["markdown"]

NAMES = {0.99: "99 %", 0.999: "99.9 %", 1.0: "all"}


def markdown(results: Mapping[str, Any]) -> str:
    """Return all tables."""
    parts = [_computer(results["computer"]), _speeds(results), _second_thread(results)]
    parts += [_times(results, number) for number in range(len(TARGETS))]
    parts += [_verdicts(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _computer(computer: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in computer["versions"].items())
    return (
        f"{computer['date']}; {computer['processors']} processors, {computer['processor']}; "
        f"Python {computer['python']}, {versions}."
    )


def _speeds(results: Mapping[str, Any]) -> str:
    def cell(solver: Solver, name: str) -> str:
        speeds = results.get(f"speed/{name}/1", {}).get(solver.name, {}).get("speeds")
        if not speeds:
            return "-" if name in solver.skips and "speed" in solver.stages else ""
        middle, low, high = statistics.median(speeds), min(speeds), max(speeds)
        return f"{_million(middle)} ({_million(low)} to {_million(high)})"

    head = (
        "**Speed**, one thread: millions of spins updated once, a second of processor time; "
        "64 runs side by side; median and range of the repeats"
    )
    return _table(head, results, "speed", cell)


def _second_thread(results: Mapping[str, Any]) -> str:
    def cell(solver: Solver, name: str) -> str:
        one, two = (
            results.get(f"speed/{name}/{threads}", {}).get(solver.name, {}).get("speeds")
            for threads in (1, 2)
        )
        return f"{statistics.median(two) / statistics.median(one):.2f}" if one and two else ""

    if is_busy(results):
        return "**A second thread** was measured, but other load had it: not shown."
    head = "**A second thread**, 64 runs each: speed over that of one thread"
    return _table(head, results, "speed", cell)


def _times(results: Mapping[str, Any], number: int) -> str:
    target = TARGETS[number]

    def cell(solver: Solver, name: str) -> str:
        trial = results.get(f"solution/{name}/1", {}).get(solver.name)
        if trial is None:
            return "-" if name in solver.skips else ""
        found = best_time(trial, number)
        if found is None:
            # rounded down: what was not reached shall not look as if it was
            return f"- ({math.floor(trial['best'] * 10000) / 100:.2f} %)"
        successes, runs, run_s, steps = found
        time = SuccessProbability(successes=successes, runs=runs).time_to_solution(run_s)
        low, value, high = (_milliseconds(s) for s in (time.low, time.value, time.high))
        return f"{value} ({low} to {high}) @{steps}"

    head = (
        f"**Time to solution**, {NAMES[target]} of the best known value with 99 % certainty, one "
        "thread: ms of processor time (95 % interval) @steps of a run; in brackets the best found "
        f"where, in the time given to each, fewer than {LEAST_SUCCESSES} runs of a length reached "
        "it; solvers that reached it nowhere are in the first of these tables only"
    )
    # all that was tried is listed once
    return _table(head, results, "solution", cell, mark="" if number == 0 else "@")


def _table(
    head: str,
    results: Mapping[str, Any],
    stage: str,
    cell: Callable[[Solver, str], str],
    mark: str = "",
) -> str:
    """Return a table of the solvers with an entry that has a mark in it."""
    names = [name for name in INSTANCES if f"{stage}/{name}/1" in results]
    rows = [[solver.name, *(cell(solver, name) for name in names)] for solver in SOLVERS]
    rows = [row for row in rows if any(text and mark in text for text in row[1:])]
    return f"{head}:\n\n{_grid(['solver', *names], rows)}" if rows else ""


def _verdicts(results: Mapping[str, Any]) -> str:
    rows = [[v.aim, v.measured, "yes" if v.holds else "no"] for v in verdicts(results)]
    return f"**Aims**:\n\n{_grid(['aim', 'measured', 'held'], rows)}" if rows else ""


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _million(speed: float) -> str:
    return f"{speed / 1e6:.3g}" if speed < 1e9 else f"{speed / 1e6:.0f}"


def _milliseconds(seconds: float) -> str:
    if math.isinf(seconds):
        return "∞"
    value = seconds * 1e3
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
