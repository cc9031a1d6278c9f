"""Worker processes, one for each package, and runs in them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from instances import Instance
    from numpy.typing import NDArray
    from solvers import Solver

__all__ = ["Answer", "Session", "SolverError"]

HERE = Path(__file__).parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Answer(NamedTuple):
    """What came of some runs.

    Attributes
    ----------
    seconds : float
        Of the solver's loop; see `peers` for the clock.
    processor_s : float
        Of the whole call.
    spins : int8 array, shape (runs, n)
    """

    seconds: float
    processor_s: float
    spins: NDArray[np.int8]


class SolverError(Exception):
    """A solver failed or took too long."""


@dataclass
class Session:
    """Workers with a given number of threads; they live until the session is closed.

    Attributes
    ----------
    python : Path
        Interpreter of the peers; this one's runs ours.
    folder : Path
        For couplings, spins and what the packages print.
    threads : int
    timeout_s : float
        Patience with one call.
    """

    python: Path
    folder: Path
    threads: int
    timeout_s: float
    _workers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for package in list(self._workers):
            self._end(package)

    def run(
        self, solver: Solver, instance: Instance, *, steps: int, runs: int, seed: int
    ) -> Answer:
        """Return what the solver found, and how long it took.

        Raises
        ------
        SolverError
            The solver raised an error, ended its process or took too long.
        """
        arguments = {"steps": steps, "runs": runs, "seed": seed, **solver.options}
        if solver.is_ours:
            arguments["threads"] = self.threads
        spins = self.folder / f"spins-{self.threads}.npy"
        reply = self._ask(
            solver.package,
            {
                "module": "ours" if solver.is_ours else "peers",
                "call": solver.call,
                "instance": str(self._couplings(instance)),
                "spins": str(spins),
                "arguments": arguments,
            },
        )
        if "error" in reply:
            raise SolverError(f"{solver.name}: {reply['error']}")
        return Answer(reply["seconds"], reply["processor_s"], np.load(spins))

    def _couplings(self, instance: Instance) -> Path:
        path = self.folder / f"{instance.name}.npy"
        if not path.exists():
            np.save(path, instance.J)
        return path

    def _ask(self, package: str, request: dict[str, Any]) -> dict[str, Any]:
        worker = self._workers.get(package) or self._start(package)
        assert worker.stdin is not None
        assert worker.stdout is not None
        print(json.dumps(request), file=worker.stdin, flush=True)
        answered = select.select([worker.stdout], [], [], self.timeout_s)[0]
        line = worker.stdout.readline() if answered else ""
        if not line:
            self._end(package)
            why = "its process ended" if answered else f"more than {self.timeout_s:.0f} s"
            return {"error": why}
        return json.loads(line)

    def _start(self, package: str) -> subprocess.Popen[str]:
        python = sys.executable if package == "cim-hal" else str(self.python)
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        with (self.folder / f"{package}.log").open("a") as log:
            worker = subprocess.Popen(
                [python, HERE / "worker.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **threads},
            )
        self._workers[package] = worker
        return worker

    def _end(self, package: str) -> None:
        worker = self._workers.pop(package)
        worker.kill()
        worker.communicate()
