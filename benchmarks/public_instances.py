"""Public instance files: each read, and its published optimum looked for by emulated machines.

    python benchmarks/public_instances.py FOLDER rows.jsonl
    python benchmarks/public_instances.py FOLDER rows.jsonl --targets emulator --calls 16
    python benchmarks/public_instances.py --table benchmarks/public_instances.jsonl

FOLDER holds the repositories that `public_instances.json` names, at the commits it names, each as
OWNER/NAME: `git clone https://github.com/OWNER/NAME FOLDER/OWNER/NAME`. None is part of this
project. A file that is missing, or has another digest, is skipped with that reason. Formats of
which no public file has a published optimum are written by their own package, from a public file
that is parsed here and not by the reader under test.

A call has 64 runs. Calls end when the published value is reached. Rows that are in the file are
not computed again.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dimod
import numpy as np
import scipy.io
import scipy.sparse
from dimod.serialization import coo

from cim_hal import IsingModel, open_device, read_model
from cim_hal.interop.dimod import from_bqm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal import Session

MANIFEST = Path(__file__).with_suffix(".json")
TARGETS = ["emulator-dsb", "emulator"]
RUNS = 64


# ---- files ----------------------------------------------------------------------------------


def entries(path: Path) -> tuple[int, Any, Any, Any]:
    """Return n, and i, j, w of "n m" and lines "i j w" from 1."""
    with path.open() as file:
        n = int(file.readline().split()[0])
        i, j, w = np.loadtxt(file).T
    return n, i.astype(int) - 1, j.astype(int) - 1, w


def quadratic(path: Path) -> dimod.BinaryQuadraticModel:
    """Return a Biq Mac file as dimod sees it: an entry beside the diagonal counts twice."""
    n, i, j, w = entries(path)
    bqm = dimod.BinaryQuadraticModel(n, "BINARY")
    for a, b, value in zip(i.tolist(), j.tolist(), w.tolist(), strict=True):
        if a == b:
            bqm.add_linear(a, value)
        else:
            bqm.add_quadratic(a, b, 2 * value)
    return bqm


def _coo(path: Path, out: Path) -> None:
    with out.open("w") as file:
        coo.dump(quadratic(path), file, vartype_header=True)


def _json(path: Path, out: Path) -> None:
    out.write_text(json.dumps(quadratic(path).to_serializable()))


def _bqm(path: Path, out: Path) -> None:
    with quadratic(path).to_file() as file:
        out.write_bytes(file.read())


def _scipy(path: Path, out: Path) -> None:
    n, i, j, w = entries(path)
    upper = scipy.sparse.csr_array((-w, (i, j)), shape=(n, n))
    scipy.sparse.save_npz(out, upper + upper.T)


def _market(path: Path, out: Path) -> None:
    n, i, j, w = entries(path)
    upper = np.zeros((n, n))
    upper[i, j] = w
    scipy.io.mmwrite(out, upper + upper.T - np.diag(np.diag(upper)), symmetry="symmetric")


def _npz(path: Path, out: Path) -> None:
    spin = quadratic(path).change_vartype("SPIN", inplace=False)
    h, (i, j, q), offset = spin.to_numpy_vectors(range(spin.num_variables))
    J = np.zeros((len(h), len(h)))
    J[i, j] = J[j, i] = -q
    np.savez(out, J=J, h=-h, offset=offset)


WRITERS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "dimod, COO": ("model.coo", _coo),
    "dimod, JSON": ("model.json", _json),
    "dimod, .bqm": ("model.bqm", _bqm),
    "scipy, sparse .npz": ("model.npz", _scipy),
    "scipy, Matrix Market array": ("model.mtx", _market),
    "numpy, .npz of J, h, offset": ("model.npz", _npz),
    "gzip": ("model.sparse.gz", lambda a, b: b.write_bytes(gzip.compress(a.read_bytes())) and None),
    "xz": ("model.sparse.xz", lambda a, b: b.write_bytes(lzma.compress(a.read_bytes())) and None),
}


def load(instance: dict[str, Any], folder: Path, scratch: Path) -> tuple[IsingModel, str]:
    """Return the model of an instance, and the format that the reader says."""
    path = folder / instance["file"]
    if "writer" in instance:
        name, write = WRITERS[instance["writer"]]
        write(path, scratch / name)
        path = scratch / name
    if path.suffix == ".bqm":  # goes through dimod
        with path.open("rb") as file:
            return from_bqm(dimod.BinaryQuadraticModel.from_file(file))[0], "dimod (binary)"
    read = read_model(path, format=instance.get("format"))
    return read.model, read.format


def refused(instance: dict[str, Any], folder: Path) -> str:
    """Return why an instance is skipped, or nothing."""
    path = folder / instance["file"]
    if not path.is_file():
        return "not there"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return "" if digest == instance["sha256"] else f"another digest: {digest}"


# ---- optima ---------------------------------------------------------------------------------


def _published(instance: dict[str, Any]) -> tuple[str, float]:
    return next((kind, instance[kind]) for kind in ("cut", "least", "most") if kind in instance)


def looked_for(instance: dict[str, Any], model: IsingModel) -> tuple[IsingModel, float]:
    """Return the model whose energy is minimized, and its energy at the published value."""
    kind, value = next(
        (kind, instance[kind]) for kind in ("cut", "least", "most") if kind in instance
    )
    if kind == "most":
        return IsingModel.from_couplings(-model.J, -model.h, -model.offset), -value
    if kind == "cut":  # cut = (E(all up) - E) / 2
        return model, float(model.energy(np.ones(model.n_spins))) - 2 * value
    return model, value


def solve(session: Session, model: IsingModel, goal: float, calls: int) -> dict[str, Any]:
    """Return the best energy of up to `calls` calls, and how many there were."""
    best, made = np.inf, 0
    while made < calls and best > goal + 1e-9 * abs(goal):
        best = min(best, session.sample(model, n_runs=RUNS, seed=made).best_energy)
        made += 1
    return {"best": best, "calls": made}


def in_words(instance: dict[str, Any], energies: dict[str, float]) -> dict[str, float]:
    """Return the best value in the sense of the published one."""
    kind, value = _published(instance)
    found = {"cut": value - (energies["best"] - energies["goal"]) / 2, "most": -energies["best"]}
    return {"published": value, "ours": found.get(kind, energies["best"])}


def check_listed(instance: dict[str, Any], folder: Path, model: IsingModel) -> dict[str, Any]:
    """Compare energies with the values that a bqpjson file lists, or that a twin file has."""
    said = json.loads((folder / instance["listed"]).read_text())
    states = np.array(np.meshgrid(*[[-1, 1]] * model.n_spins)).reshape(model.n_spins, -1).T
    if instance["listed"] != instance["file"]:  # Qubist files have no scale, offset or names
        twin = read_model(folder / instance["listed"]).model
        expected = twin.energy(states[:, said["variable_ids"]])
        found = said["scale"] * (model.energy(states) + said["offset"])
        return {"states": len(states), "off_by": float(np.abs(found - expected).max())}
    values = [each["evaluation"] for each in said["solutions"]]
    spins = [[1 if b["value"] > 0 else -1 for b in e["assignment"]] for e in said["solutions"]]
    return {"states": len(spins), "off_by": float(np.abs(model.energy(spins) - values).max())}


# ---- rows -----------------------------------------------------------------------------------


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each instance and target that is not in the file."""
    done = {(row["file"], row["writer"], row["target"]) for row in kept(options.rows)}
    for target in options.targets:
        with open_device(target) as session:
            for instance in json.loads(MANIFEST.read_text())["instances"]:
                why = refused(instance, options.folder)
                if why:
                    print(f"skipped {instance['file']}: {why}", file=sys.stderr)
                elif "listed" in instance and target != TARGETS[0]:
                    continue  # no machine takes part
                elif (instance["file"], instance.get("writer", ""), target) not in done:
                    yield row(instance, options, session) | {"target": target}


def row(instance: dict[str, Any], options: argparse.Namespace, session: Session) -> dict[str, Any]:
    with TemporaryDirectory() as scratch:
        model, layout = load(instance, options.folder, Path(scratch))
    about = {"file": instance["file"], "writer": instance.get("writer", "")}
    about |= {"format": layout, "spins": model.n_spins}
    if "listed" in instance:
        return about | check_listed(instance, options.folder, model)
    wanted, goal = looked_for(instance, model)
    found = solve(session, wanted, goal, options.calls) | {"goal": goal}
    return about | in_words(instance, found) | {"calls": found["calls"]}


def kept(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def number(value: float) -> str:
    return f"{value:.10g}".replace("-", "−")


def table(path: Path) -> Iterator[str]:
    """Yield lines of Markdown."""
    found = {(row["file"], row["writer"], row["target"]): row for row in kept(path)}
    yield f"| file | read as | spins | published | {' | '.join(f'`{name}`' for name in TARGETS)} |"
    yield "|---" * (4 + len(TARGETS)) + "|"
    for instance in json.loads(MANIFEST.read_text())["instances"]:
        mine = [found.get((instance["file"], instance.get("writer", ""), t)) for t in TARGETS]
        first = next(filter(None, mine), None)
        if first is None:
            continue
        published = "values of states"
        if "published" in first:
            published = number(first["published"]) + ", proved" * bool(instance.get("proved"))
        cells = [
            _name(instance),
            first["format"],
            str(first["spins"]),
            published,
            *map(_cell, mine),
        ]
        yield f"| {' | '.join(cells)} |"


def _name(instance: dict[str, Any]) -> str:
    owner, _, path = instance["file"].partition("/")
    name = f"`{path.rpartition('/')[2]}` of {owner}"
    return f"{name}, written by {instance['writer']}" if "writer" in instance else name


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "off_by" in row:
        return f"equal in {row['states']}" if row["off_by"] < 1e-9 else f"off by {row['off_by']}"
    missing = 1 - row["ours"] / row["published"]
    if missing < 1e-9:
        return f"met, {row['calls']}"
    return f"{number(row['ours'])}, {missing:.2%} short"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("rows", type=Path, nargs="?")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--calls", type=int, default=8, help="at most, of 64 runs")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        print("\n".join(table(options.table)))
        return
    for row in rows(options):
        print(json.dumps(row), flush=True)
        with options.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
