"""The table of the page "which emulator": what each machine is, and what its first job takes.

    python benchmarks/which_emulator.py docs/how-to/_which_table.txt
    python benchmarks/which_emulator.py table.txt --targets emulator emulator-dsb --form sparse

For each machine two processes, one after the other: with an empty folder of kernels, and with what
the first left there. Compiling is told in seconds of processor, which other load changes less than
those of a clock. Both sample the same glass of spins, 64 times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cim_hal import make_driver, registered_drivers

MOST_SPINS = 100
JOB = """
import json, time
start = time.process_time()
import numpy as np
import scipy.sparse as sp
from cim_hal import IsingModel, open_device
rng = np.random.default_rng(1)
upper = np.triu(rng.integers(-9, 10, ({n}, {n})), 1).astype(float)
if {sparse}:
    upper = sp.csr_array(upper * (rng.random(upper.shape) < 0.05))
model = IsingModel.from_couplings(upper + upper.T)
with open_device("{target}") as session:
    samples = session.sample(model, n_runs=64, seed=1)
record = samples.record
facts = dict(cpu_s=time.process_time() - start, device_s=record.device_s)
facts |= dict(compile_s=record.notes.get("compile_s", 0.0), best=samples.best_energy)
facts |= dict(mean=samples.energies.mean(), effective=samples.diversity.effective_runs)
print(json.dumps(facts))
"""


def first_job(target: str, n_spins: int, kernels: str, *, sparse: bool) -> dict[str, float]:
    """Return what a process says of its first job."""
    command = [sys.executable, "-c", JOB.format(target=target, n=n_spins, sparse=sparse)]
    environment = os.environ | {"NUMBA_CACHE_DIR": kernels}
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def row(target: str, *, sparse: bool) -> tuple[str, dict[str, float], dict[str, float]]:
    """Return what a machine is, and its first job without and with kernels."""
    capabilities = make_driver(target).describe()
    bits = capabilities.coupling_bits
    couplings = "real" if bits is None else f"{bits} bits"
    field = "field" if capabilities.has_field else ""
    facts = f"| `{target}` | {capabilities.max_spins:,} | {couplings} | {field} |"
    with tempfile.TemporaryDirectory() as kernels:
        jobs = [first_job(target, MOST_SPINS, kernels, sparse=sparse) for _ in range(2)]
    return f"{facts} {capabilities.description.rstrip('.')} |", *jobs


def main() -> None:
    """Measure all machines, and write the table."""
    parser = argparse.ArgumentParser(description="What each machine is, and its first job.")
    names = [driver.name for driver in registered_drivers()]
    targets = [name for name in names if name.startswith("emulator")]
    parser.add_argument("file", type=Path, help="the table")
    parser.add_argument("--targets", nargs="+", default=targets)
    parser.add_argument("--form", choices=("dense", "sparse"), default="dense")
    options = parser.parse_args()
    rows = [row(target, sparse=options.form == "sparse") for target in options.targets]
    lowest = min(job["best"] for _, *jobs in rows for job in jobs)
    measured = "compiling, s | 64 runs, s | mean gap, % | worth"
    lines = [f"| machine | spins | bits | | what it is | {measured} |", "|" + 9 * "---|"]
    for facts, cold, warm in rows:
        gap = 100 * (1 - warm["mean"] / lowest)
        compiling = cold["cpu_s"] - warm["cpu_s"]
        cells = f"{compiling:.1f} | {warm['device_s']:.2g} | {gap:.2g} | {warm['effective']:.0f}"
        lines.append(f"{facts} {cells} |")
        print(lines[-1], flush=True)
    options.file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
