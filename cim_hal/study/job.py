"""One job of a study: it can travel to another process, and says all that its row needs."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.client.session import open_device
from cim_hal.machine.config import MachineConfig
from cim_hal.study.job_factors import (
    DEVICE,
    JOB_FACTORS,
    OPTION,
    is_of_machine,
    runs_of,
    schedule_of,
)
from cim_hal.study.rows import Row, key_of
from cim_hal.study.tasks import TrainTask, train_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cim_hal.client.session import Session
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.study.families import Instance
    from cim_hal.study.plan import Level, Point, Study

__all__ = ["Job", "Machine", "machine_at", "run_here", "run_on"]

_warm, _warming = set[str](), threading.Lock()  # kinds of jobs that this process had


@dataclass(frozen=True)
class Machine:
    """A machine by its target, and the files of keys that a server asks for."""

    config: MachineConfig
    keys: Mapping[str, Any]

    def open(self, settings: Mapping[str, float] | None = None) -> Session:
        """Open a session, where other `settings` are the defaults."""
        known = {**self.config.settings, **(settings or {})}
        return open_device(self.config.model_copy(update={"settings": known}), **self.keys)


def machine_at(
    study: Study, point: Point, target: MachineConfig | str | None, keys: Mapping[str, Any]
) -> Machine:
    """Return the machine of a point: of the target, else of the study, built as the levels say."""
    levels, of_study = dict(point), study.machine
    if target is None:
        target = MachineConfig.of(str(levels.get(DEVICE, of_study.device)), of_study.options)
    options: dict[str, Any] = {
        name.removeprefix(OPTION): level
        for name, level in levels.items()
        if name.startswith(OPTION)
    }
    return Machine(MachineConfig.of(target, options or None), keys)


@dataclass(frozen=True)
class Job:
    """A model, or a training, at a point of a study; the how many-eth, and its seed."""

    study: Study
    point: Point
    instance: Instance
    batch: int
    seed: int

    @property
    def key(self) -> str:
        """That of its row."""
        return key_of(self.point, self.instance.name, self.batch)

    @property
    def levels(self) -> dict[str, Level]:
        """The level of each factor."""
        return dict(self.point)

    def settings(self, own: Any) -> dict[str, float]:
        """Return the settings of the machine; factors in `own` are none."""
        levels = self.levels.items()
        chosen = {n: float(v) for n, v in levels if n not in own and not is_of_machine(n)}
        return {**self.study.machine.settings, **chosen}


def run_on(machine: Machine, job: Job) -> Row:
    """Run a job on a machine that is opened for it, in whichever process this is."""
    if job.study.train is not None:
        return _training(train_task(), machine, job)
    with machine.open() as session:
        return run_here(session, machine, job)


def run_here(session: Session, machine: Machine, job: Job) -> Row:
    """Run a job of samples on an open session of a machine."""
    levels, instance, model = job.levels, job.instance, job.instance.model
    if model is None:  # it would be a training
        raise TypeError(instance.name)
    if session.capabilities.round_trip_s is None:
        _warm_up(session, machine, job, model)
    samples = _sample(session, job, model, runs_of(levels, job.study.repeat.runs))
    energies = samples.energies
    return Row(
        factors=levels,
        model=instance.name,
        model_digest=samples.record.coupling,
        n_spins=model.n_spins,
        batch=job.batch,
        seed=job.seed,
        device=session.capabilities.name,
        runs=len(energies),
        successes=int(samples.reached(instance.target.energy).sum()),
        target=instance.target.energy,
        target_source=instance.target.source,
        energy_mean=float(energies.mean()),
        energy_min=float(energies.min()),
        energy_sd=float(energies.std()),
        configurations=samples.diversity.configurations,
        device_s=float(samples.record.device_s),
        rounding_error=float(samples.record.lowering.max_error),
        software=_software(),
        spins_sha256=hashlib.sha256(_spins_by_run(samples)).hexdigest(),
    )


def _sample(session: Session, job: Job, model: IsingModel, n_runs: int) -> SampleSet:
    levels = job.levels
    return session.sample(
        model,
        schedule_of(levels, session.capabilities),
        n_runs=n_runs,
        seed=job.seed,
        coupling_bits=None if "coupling_bits" not in levels else int(levels["coupling_bits"]),
        lowering=str(levels.get("lowering", "max")),
        settings=job.settings(JOB_FACTORS) or None,
    )


def _warm_up(session: Session, machine: Machine, job: Job, model: IsingModel) -> None:
    """Make a run before the first job of a kind, whose time would be that of loading kernels too.

    Jobs of one kind have one machine, kind of models and levels of all factors but the length of
    a run and their number. Each process does it once, and meanwhile no other job begins there.
    """
    others = [pair for pair in job.point if pair[0] not in {"round_trips", "runs"}]
    kind = repr((machine.config, job.study.machine.settings, job.instance.family, others))
    with _warming:
        if kind not in _warm:
            _sample(session, job, model, 1)
            _warm.add(kind)


def _training(task: TrainTask, machine: Machine, job: Job) -> Row:
    instance, levels, options = job.instance, job.levels, job.study.train
    recipe = {name: level for name, level in levels.items() if name in task.factors}
    began = time.perf_counter()
    with machine.open(job.settings(task.factors)) as session:
        found = task.train(session, options.options if options else {}, recipe, job.seed)
        device = session.capabilities.name
    return Row(
        factors=levels,
        model=instance.name,
        model_digest="",
        n_spins=found.n_spins,
        batch=job.batch,
        seed=job.seed,
        device=device,
        runs=found.tested,
        successes=found.correct,
        target=instance.target.energy,
        target_source=instance.target.source,
        energy_mean=found.objective,
        energy_min=found.objective,
        energy_sd=0.0,
        configurations=1,
        device_s=time.perf_counter() - began,
        rounding_error=0.0,
        software=_software(),
        spins_sha256=found.sha256,
        infeasibility=found.infeasibility,
        no_infeasibility=found.no_infeasibility,
        calls=found.calls,
    )


@cache
def _software() -> str:
    """Return the versions on which the spins of a job may depend."""
    found = [f"cim-hal {version('cim-hal')}", f"Python {python_version()}"]
    for name in ("numpy", "numba"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _spins_by_run(samples: Any) -> bytes:
    """Return the spins, which are sorted by energy, in an order that ties do not change."""
    rows = np.ascontiguousarray(samples.spins, dtype=np.int8)
    return rows[np.lexsort(rows.T)].tobytes()
