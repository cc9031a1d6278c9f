"""The folder of a study: its file, copies of its models, and which machines made its rows."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from cim_hal.addresses import is_machine_file
from cim_hal.atomic_files import replace_text
from cim_hal.errors import StudyError
from cim_hal.model.files import read_model
from cim_hal.ownership import hold, release
from cim_hal.study.families import Instance, Target, draw, target_of
from cim_hal.study.requirements import facts_of, refuse_other
from cim_hal.study.rows import ROWS

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.families import Family
    from cim_hal.study.plan import Study

__all__ = [
    "STUDY",
    "TEST",
    "draw_apart",
    "draw_models",
    "keep_machines",
    "prepare_folder",
    "sole_study",
    "target_of_row",
]

STUDY, MACHINES, LOCK = "study.toml", "machines.json", "study.lock"
TEST = "test samples"  # the source of targets of trainings
APART = 1_000_000  # from here on models of a family are for tuning only


def draw_models(study: Study, folder: Path, *, are_copies: bool = True) -> Iterator[Instance]:
    """Yield the models of a study with their targets.

    Files are the copies in the `folder` of the results, or relative to the folder of the study.
    """
    for k in range(study.train.seeds if study.train else 0):
        yield Instance(f"seed-{k}", None, Target(0.0, TEST))
    models = study.models
    if models is None:
        return
    known: dict[str, str] = {}
    for number, name in enumerate(models.files):
        path = _copy_of(folder, number, name) if are_copies else folder / name
        model = read_model(path).model
        first = known.setdefault(_digest(model), name)
        if first != name:
            raise StudyError(f"models.files: {first} and {name} are one model, and would be two")
        given = models.targets.get(name)
        target = None if given is None else Target(given, "given")
        target = target or target_of(model, None, (study.study.seed,))
        yield Instance(name, model, target, study.kind_of_file(name))
    for number, family in enumerate(models.family):
        for n in family.sizes:
            for k in range(family.count):
                yield _drawn(family, n, number, k)


def _digest(model: IsingModel) -> str:
    """Return what two models have in common only if they are the same."""
    J = csr_array(model.J)
    J.sort_indices()
    found = hashlib.sha256(np.asarray(model.h, float).tobytes())
    for part in (J.indptr, J.indices, J.data):
        found.update(np.asarray(part, float).tobytes())
    return found.hexdigest()


def draw_apart(study: Study) -> Iterator[Instance]:
    """Yield models of the same families that are for tuning only."""
    if study.nuisance is None or study.models is None:
        return
    for number, family in enumerate(study.models.family):
        for n in family.sizes:
            for k in range(study.nuisance.models):
                yield _drawn(family, n, number, k, is_apart=True)


def _drawn(family: Family, n: int, number: int, k: int, *, is_apart: bool = False) -> Instance:
    seed = family.seed, number, k + APART * is_apart
    if isinstance(family.n, tuple):  # models of several sizes have no numbers in common
        seed += (n,)
    name = f"{'apart-' * is_apart}{family.kind}-{n}-{number}.{k}"
    try:
        return draw(family.kind, n, seed, name)
    except ValueError as error:
        raise StudyError(f"models.family number {number + 1}: {error}") from None


@contextmanager
def sole_study(folder: Path) -> Iterator[None]:
    """Make a folder and keep all other studies out of it, until this one or its process ends.

    `StudyError` if another study runs there. File systems without locks keep nobody out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        _take(folder, lock)
        yield
    finally:
        release((lock,))


def _take(folder: Path, lock: int) -> None:
    is_held = True
    with suppress(OSError):  # no locks there
        is_held = hold(lock)
    if not is_held:
        by = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
        hint = "wait until it ends or end it, or choose another folder"
        raise StudyError(f"a study runs in {folder} already, by {by}", hint=hint)
    with suppress(OSError):  # a disk that is full keeps nobody from looking at what is there
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)


def prepare_folder(study: Study, file: Path, folder: Path, *, resume: bool) -> None:
    """Put a copy of the file of a study into the folder of its results.

    `StudyError` if there are results already and they are not to be resumed, or of another study.
    """
    copy = folder / STUDY
    if _has_rows(folder) and copy.exists():
        if copy.read_bytes() != file.read_bytes():
            hint = "choose another folder, or bring back the file"
            raise StudyError(f"{folder} holds another study than {file}", hint=hint)
        if not resume:
            hint = "go on with --resume, or choose another folder"
            raise StudyError(f"{folder} holds results of this study", hint=hint)
    try:
        if not _has_rows(folder):
            for number, name in enumerate(study.models.files if study.models else ()):
                _keep_model(file.parent / name, _copy_of(folder, number, name))
            shutil.copyfile(file, copy)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}") from None


def _has_rows(folder: Path) -> bool:
    """Return whether there are results: a study that was refused has left only its file."""
    path = folder / ROWS
    return path.exists() and path.stat().st_size > 0


def _copy_of(folder: Path, number: int, name: str) -> Path:
    return folder / "models" / f"{number}-{Path(name).name}"


def _keep_model(path: Path, copy: Path) -> None:
    copy.parent.mkdir(exist_ok=True)
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise StudyError(f"models.files: {path} cannot be read: {error.strerror}") from None


# ---- machines -------------------------------------------------------------------------------


def keep_machines(
    folder: Path, capabilities: Capabilities, targets: Mapping[str, str | None]
) -> Collection[str]:
    """Write which machines make rows, and return their names, those of earlier rows too.

    `targets` are by the names of machines, None for that of the study. `StudyError` if the rows
    that are there are of machines of another kind.
    """
    path, here = folder / MACHINES, facts_of(capabilities)
    known: dict[str, Any] = {"machine": here, "targets": {}}
    if _has_rows(folder) and path.exists():
        known = _known_machines(path)
        refuse_other(known["machine"], here, f"the rows in {folder} are of {{}}, and ")
    found = {name: target and _absolute(target) for name, target in targets.items()}
    known["targets"] = found | known["targets"]
    replace_text(path, f"{json.dumps(known, indent=1)}\n", durable=True)
    return known["targets"].keys()


def target_of_row(folder: Path, name: str) -> str | None:
    """Return the target of the machine that made a row; None for that of the study."""
    path = folder / MACHINES
    return _known_machines(path)["targets"].get(name) if path.exists() else None


def _known_machines(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text("utf-8"))
        return {"machine": dict(known["machine"]), "targets": dict(known["targets"])}
    except (ValueError, KeyError, TypeError) as error:
        hint = "bring it back, or remove it where all rows are of the machine of the study"
        raise StudyError(f"{path} is damaged: {error!r}", hint=hint) from None


def _absolute(target: str) -> str:
    return str(Path(target).absolute()) if is_machine_file(target) else target
