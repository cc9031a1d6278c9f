"""Our emulator and its peers, side by side: speed and time to solution.

Run ``python benchmarks/peers/run.py --help`` in this repository's environment. Answers are kept in
a folder; a run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment
import report
from instances import INSTANCES, load
from measure import Effort, solve, time_speeds
from session import Session
from solvers import SOLVERS, Solver

__all__ = ["main"]

HERE = Path(__file__).parent
STAGES = ("speed", "solution")
QUICK = Effort(repeats=3, loop_s=0.06, cell_s=0.7, large_cell_s=2.0)
FULL = Effort(repeats=5, loop_s=0.3, cell_s=2.5, large_cell_s=7.0)
# Where a second thread is tried in a quick run.
QUICK_THREADED = ("D550", "G22")
TIMEOUT_S = 120.0


def main() -> None:
    """Measure what is missing, and report all there is."""
    options = _options()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    results_path = folder / ("quick.json" if options.quick else "full.json")
    if options.fresh:
        results_path.unlink(missing_ok=True)
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    results["computer"] = _computer()
    if not options.report_only:
        python = environment.prepare(options.env)
        for threads in (1, 2):
            with Session(python, folder, threads, TIMEOUT_S) as session:
                for key in _plan(options, threads):
                    start = time.perf_counter()
                    results[key] = _cells(options, session, key, results.get(key, {}))
                    results_path.write_text(json.dumps(results, indent=1))
                    _progress(key, start)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    markdown = report.markdown(results)
    if options.markdown:
        options.markdown.write_text(markdown)
    print(markdown)
    failed = [f"{key}: {why}" for key, cells in results.items() for why in _errors(cells)]
    if failed:
        sys.exit("not measured:\n" + "\n".join(failed))


def _errors(cells: dict[str, Any]) -> list[str]:
    """Return why cells have no answer."""
    return [cell["error"] for cell in cells.values() if isinstance(cell, dict) and "error" in cell]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our emulator and its peers, side by side.")
    home = environment.default_folder()
    parser.add_argument("--env", type=Path, default=home / "env", help="environment of the peers")
    parser.add_argument("--folder", type=Path, default=home / "results", help="answers so far")
    parser.add_argument("--shared", type=Path, default=_shared_dir(), help="reference instances")
    parser.add_argument("--quick", action="store_true", help="about 8 minutes instead of 22")
    parser.add_argument("--fresh", action="store_true", help="forget the answers so far")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the solvers' names")
    parser.add_argument("--instances", nargs="+", choices=INSTANCES, default=INSTANCES)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--markdown", type=Path, help="write the tables to a file")
    return parser.parse_args()


def _shared_dir() -> Path:
    beside = HERE.parents[2] / "shared"
    return Path(os.environ.get("CIM_SHARED_DIR", beside))


def _plan(options: argparse.Namespace, threads: int) -> list[str]:
    """Return what is to be measured with this many threads, in order."""
    names = options.instances
    if threads == 1:
        plan = [(stage, name) for stage in ("speed", "solution") for name in names]
    else:
        plan = [("speed", n) for n in names if not options.quick or n in QUICK_THREADED]
    return [f"{stage}/{name}/{threads}" for stage, name in plan if stage in options.stages]


def _progress(key: str, start: float) -> None:
    print(f"{key}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def _cells(
    options: argparse.Namespace, session: Session, key: str, known: dict[str, Any]
) -> dict[str, Any]:
    """Return the cells of a stage, after measuring those that are missing."""
    stage, name, _ = key.split("/")
    cells = {solver: cell for solver, cell in known.items() if _is_answer(cell)}
    wanted = _wanted(options, stage, name, session.threads)
    missing = [solver for solver in wanted if solver.name not in cells]
    if missing:
        measure = time_speeds if stage == "speed" else solve
        effort = QUICK if options.quick else FULL
        cells |= measure(session, load(options.shared, name), missing, effort)
        cells["load"] = os.getloadavg()[0]
    return cells


def _is_answer(cell: Any) -> bool:
    """Whether a cell need not be measured again: a failure is tried anew."""
    return not isinstance(cell, dict) or not ("error" in cell or "error" in cell.get("end", ""))


def _wanted(options: argparse.Namespace, stage: str, name: str, threads: int) -> list[Solver]:
    def is_wanted(solver: Solver) -> bool:
        if name in solver.skips or stage not in solver.stages:
            return False
        if threads > 1 and not solver.is_threaded:
            return False
        if options.quick and solver.changed and stage == "solution":
            return False
        return not options.only or any(part in solver.name for part in options.only)

    return [solver for solver in SOLVERS if is_wanted(solver)]


def _computer() -> dict[str, Any]:
    names = ("cim-hal", "numpy", "numba", "scipy")
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
