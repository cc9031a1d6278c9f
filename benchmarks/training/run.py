"""Training at scale with a machine and without, on the same images; several seeds.

    python benchmarks/training/run.py --tasks tiny --seeds 10
    python benchmarks/training/run.py --tables docs/explanation/_scale_tables.txt

Rows are appended to ``FOLDER/TASK.jsonl``; those that are there are not computed again. One
process, one core. Needs Fashion-MNIST in ``$CIM_SHARED_DIR/data/fashion_mnist`` or
``$QNN_DATA_DIR``.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import tables
from methods import METHODS
from rows import Rows
from tasks import TASKS
from threadpoolctl import threadpool_limits


def main() -> None:
    """Compute what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=[])
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/training/rows"))
    parser.add_argument("--tables", type=Path, help="write the tables of all rows here")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.folder)
    with threadpool_limits(1):
        for seed, name, method in product(range(options.seeds), options.tasks, options.methods):
            classes = list(TASKS[name].classes)
            row = {"task": name, "method": method, "classes": classes, "seed": seed}
            if not rows.has(**row):
                rows.add([row | METHODS[method](TASKS[name], seed)])
    if options.tables:
        options.tables.write_text(tables.markdown(rows.all))


if __name__ == "__main__":
    main()
