"""Training at scale beside the classical ways, on the same images; several seeds.

    python benchmarks/training/run.py --tasks pairs --seeds 10 --jobs 2
    python benchmarks/training/run.py --tables docs/explanation/_scale_tables.txt

Rows are appended to ``FOLDER/TASK.jsonl``; those that are there are not computed again. Needs
Fashion-MNIST in ``$CIM_SHARED_DIR/data/fashion_mnist`` or ``$QNN_DATA_DIR``.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tables
from methods import SLOW, rows_of
from rich.console import Console
from rich.progress import Progress
from rows import Rows
from tasks import METHODS, TASKS
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]


def main() -> None:
    """Compute what is missing, then write the tables."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.folder)
    groups = list(_missing(options, rows))
    deadline = time.monotonic() + 60 * options.minutes
    with (
        ProcessPoolExecutor(options.jobs, initializer=_one_core) as pool,
        Progress(console=Console(stderr=True)) as bar,
    ):
        waiting: set[Future[list[dict[str, Any]]]] = set()
        task = bar.add_task("rows", total=len(groups))
        while waiting or (groups and time.monotonic() < deadline):
            while groups and len(waiting) < options.jobs and time.monotonic() < deadline:
                waiting.add(pool.submit(rows_of, *groups.pop(0)))
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                rows.add(future.result())
            bar.advance(task, len(done))
    if options.tables:
        options.tables.write_text(tables.markdown(rows.all))


def _one_core() -> None:
    """Keep this process to one core: products of small matrices gain nothing from more."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    threadpool_limits(1)


def _missing(
    options: argparse.Namespace, rows: Rows
) -> Iterator[tuple[str, str, tuple[int, ...], list[int]]]:
    """Yield task, method, classes and seeds: one seed where it takes long, else all of them."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for name in options.tasks:
        task = TASKS[name]
        for method in options.methods:
            rounds = [[seed] for seed in seeds] if method in SLOW else [list(seeds)]
            for together in rounds:
                for classes in task.groups:
                    names = {"task": name, "method": method, "classes": classes}
                    missing = [seed for seed in together if not rows.has(**names, seed=seed)]
                    if missing:
                        yield name, method, classes, missing


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=[])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/training/rows"))
    parser.add_argument("--tables", type=Path, help="write the tables of all rows here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
