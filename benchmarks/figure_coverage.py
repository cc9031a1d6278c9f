"""How often intervals hold the truth, and verdicts are wrong: of all figures but the success.

    python benchmarks/figure_coverage.py --out figures.csv [--studies 2000] [--figures difference]

Simulated rows go through the functions that make ``summary.json`` and the other reports. Rows of
the file are kept, and a second call goes on. Of an interval `above` and `below` are the shares of
studies in which it lies wholly above or below the truth, of a verdict `above` is the share in which
it is wrong. `none` is the share of studies in which no interval was given. The success probability
itself is in ``interval_coverage.py``, whose kinds of hardness these are. ``--table`` prints what
the file has of each figure.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import figure_studies
import numpy as np

FIELDS = ("figure", "kind", "studies", "covered", "above", "below", "none", "width")


class Kind(NamedTuple):
    """A kind of simulated study: its name, and what makes one and returns its figures."""

    name: str
    study: Callable[[np.random.Generator], dict[str, Any]]


def rows_of(kind: Kind, n_studies: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each figure of the studies of a kind."""
    seeds = np.random.SeedSequence([*kind.name.encode()]).spawn(n_studies)
    found: dict[str, list[Any]] = defaultdict(list)
    for seed in seeds:
        for figure, one in kind.study(np.random.default_rng(seed)).items():
            found[figure].append(one)
    for figure, outcomes in found.items():
        yield dict(zip(FIELDS, (figure, kind.name, n_studies, *_rates(outcomes)), strict=True))


def _rates(outcomes: list[Any]) -> tuple[float, float, float, float, str]:
    """Return shares of outcomes: (truth, low, high), None, or whether a verdict is wrong."""
    if isinstance(outcomes[0], bool):
        wrong = float(np.mean(outcomes))
        return round(1 - wrong, 6), wrong, 0.0, 0.0, ""
    given = [one for one in outcomes if one is not None]
    none = 1 - len(given) / len(outcomes)
    if not given:
        return 1.0, 0.0, 0.0, none, ""
    truth, low, high = np.array(given, float).T
    slack = 1e-9 * np.abs(truth)
    above, below = float(np.mean(low > truth + slack)), float(np.mean(high < truth - slack))
    widths = [b - a if b < math.inf and a > -math.inf else math.inf for _, a, b in given]
    return round(1 - above - below, 6), above, below, round(none, 6), f"{np.median(widths):.4g}"


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Yield lines of what is covered, for each figure, and of verdicts the most that are wrong."""
    yield "| figure | kinds | in 93 to 97 % | more | less | least | at |"
    yield "|---|---|---|---|---|---|---|"
    for figure in dict.fromkeys(row["figure"] for row in rows):
        mine = [row for row in rows if row["figure"] == figure]
        shares = np.array([float(row["covered"]) for row in mine])
        least, at = f"{100 * shares.min():.1f} %", mine[int(shares.argmin())]["kind"]
        counts = [np.count_nonzero(each) for each in (shares > 0.97, shares < 0.93)]
        of_each = [len(mine) - sum(counts), *counts] if mine[0]["width"] else [""] * 3
        yield f"| {figure} | {len(mine)} | {' | '.join(map(str, of_each))} | {least} | `{at}` |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures.csv"))
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--figures", nargs="*", choices=figure_studies.KINDS)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        with asked.out.open(newline="") as file:
            print(*table(list(csv.DictReader(file))), sep="\n")
        return
    with asked.out.open("a+", newline="") as file:
        file.seek(0)
        known = {(each["kind"], int(each["studies"])) for each in csv.DictReader(file)}
        writer: csv.DictWriter[str] = csv.DictWriter(file, FIELDS)
        if not known:
            writer.writeheader()
        for figure in asked.figures or figure_studies.KINDS:
            for kind in map(Kind._make, figure_studies.KINDS[figure]()):
                if (kind.name, asked.studies) not in known:
                    found = list(rows_of(kind, asked.studies))
                    writer.writerows(found)
                    file.flush()
                    print(*(tuple(row.values()) for row in found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
