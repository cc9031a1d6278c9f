"""Rows as tables, with 95 % intervals over seeds and paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["markdown"]

NAMES = {
    "machine": "**`emulator-dsb`, samples polished**",
    "descent": "one-flip descents on the host in its place",
    "annealing": "annealing on the host in its place",
    "ste": "STE, same codes",
    "ste-real-ternary": "STE, ternary, real biases and scales",
    "ste-real-binary": "STE, 1 bit, real biases and scales",
    "logistic": "logistic regression, real",
    "random": "best of as many random networks",
}
OURS = "machine"
NUMBERS = {"bits": "{:.2f}", "calls": "{:.0f}", "cpu_seconds": "{:.1f}"}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return one table a task."""
    return (
        "\n\n".join(_table(name, [r for r in rows if r["task"] == name]) for name in TASKS) + "\n"
    )


def _table(name: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        f"**{name}**, asked for {TASKS[name].goal} %",
        "",
        "| | test, % | seeds | bits per parameter | calls | CPU s | machine ahead by |",
        "|---|---|---|---|---|---|---|",
    ]
    by_method = {method: [row for row in rows if row["method"] == method] for method in NAMES}
    ours = _by_seed(by_method[OURS])
    lines += [_line(method, mine, ours) for method, mine in by_method.items() if mine]
    return "\n".join(lines)


def _by_seed(rows: list[dict[str, Any]]) -> dict[int, float]:
    return {row["seed"]: 100 * row["test"] for row in rows}


def _line(method: str, rows: list[dict[str, Any]], ours: dict[int, float]) -> str:
    found = _by_seed(rows)
    cells = [NAMES[method], _interval([*found.values()]), str(len(found))]
    for key, form in NUMBERS.items():
        known = [row[key] for row in rows if row.get(key)]
        cells.append(form.format(np.mean(known)) if known else "")
    ahead = [ours[seed] - found[seed] for seed in found.keys() & ours.keys()]
    cells.append(_difference(ahead) if method != OURS and ahead else "")
    return "| " + " | ".join(cells) + " |"


def _interval(values: list[float], sign: str = "") -> str:
    """Return the mean and half the width of its 95 % interval (Student's t)."""
    mean = f"{np.mean(values):{sign}.2f}"
    return mean if len(values) < 2 else f"{mean} ± {_half_width(values):.2f}"


def _difference(values: list[float]) -> str:
    """Return an interval, in bold where zero lies outside."""
    text = _interval(values, sign="+")
    shown = len(values) > 1 and abs(np.mean(values)) > _half_width(values)
    return f"**{text}**" if shown else text


def _half_width(values: list[float]) -> float:
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return float(stats.t.ppf(0.975, len(values) - 1)) * spread
