"""Rows as tables, with 95 % intervals over seeds and paired differences."""

from __future__ import annotations

from collections import defaultdict
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
    "ste": "STE, same codes and starts",
    "ste-real-ternary": "STE, ternary, real biases and scales",
    "ste-real-binary": "STE, 1 bit, real biases and scales",
    "logistic": "logistic regression, real",
    "random": "best of as many random networks",
}
OURS = "machine"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return one table a task that has rows."""
    parts = [_table(name, [row for row in rows if row["task"] == name]) for name in TASKS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(name: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    task = TASKS[name]
    by_method = _by_seed(rows, len(task.groups))
    ours = by_method.get(OURS, {})
    lines = [
        f"**{name}**, asked for {task.goal} %",
        "",
        "| | test, % | seeds | bits per parameter | calls | CPU s | machine ahead by |",
        "|---|---|---|---|---|---|---|",
    ]
    known = [method for method in NAMES if by_method.get(method)]
    lines += [_line(method, by_method[method], ours, rows) for method in known]
    return "\n".join(lines)


def _by_seed(rows: list[dict[str, Any]], groups: int) -> dict[str, dict[int, float]]:
    """Return the mean over all groups of classes, of the seeds that have all of them."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["method"]][row["seed"]].append(100 * row["test"])
    return {
        method: {seed: float(np.mean(v)) for seed, v in seeds.items() if len(v) == groups}
        for method, seeds in found.items()
    }


def _line(
    method: str, values: dict[int, float], ours: dict[int, float], rows: list[dict[str, Any]]
) -> str:
    mine = [row for row in rows if row["method"] == method]
    cells = [NAMES[method], _interval(list(values.values())), str(len(values))]
    for key, form in (
        ("bits", "{:.3f}"),
        ("calls", "{:.0f}"),
        ("cpu_seconds", "{:.1f}"),
    ):
        known = [row[key] for row in mine if key in row]
        cells.append(form.format(np.mean(known)) if known else "")
    both = sorted(set(values) & set(ours))
    ahead = [ours[seed] - values[seed] for seed in both]
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
