"""Running a study: every job of every point, as often as the figures need it, on some machines."""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.client.session import open_device
from cim_hal.errors import StudyError
from cim_hal.machine.config import MachineConfig
from cim_hal.study.job_factors import JOB_FACTORS, schedule_of
from cim_hal.study.requirements import check_alike, check_study
from cim_hal.study.rows import Row, RowFile, key_of
from cim_hal.study.shares import Share, share_of
from cim_hal.study.tasks import TrainTask, train_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.study.families import Instance
    from cim_hal.study.plan import Point, Study

__all__ = ["Sweep", "repeat_row"]

Report = Callable[[Row, int, int], None]  # a row, jobs done, jobs known so far


@dataclass(frozen=True)
class _Job:
    point: Point
    instance: Instance
    batch: int

    @property
    def key(self) -> str:
        return key_of(self.point, self.instance.name, self.batch)


class Sweep:
    """A study on its machines, as a context: sessions are open while it is.

    Parameters
    ----------
    study : Study
    instances, apart : sequence of Instance
        Its models, and those to tune on: `draw_models`.
    targets : sequence of targets
        Machines that share the jobs; by default that of the study.
    jobs : int
        Jobs at a time on each of them.

    Raises
    ------
    StudyError
        A factor that no job can set, or a level out of its range; machines that differ.
    CapabilityError
        A model that is too large for the machine.
    """

    def __init__(
        self,
        study: Study,
        instances: Sequence[Instance],
        *,
        apart: Sequence[Instance] = (),
        targets: Sequence[MachineConfig | str] = (),
        jobs: int = 1,
    ) -> None:
        self.study, self.instances, self.apart = study, instances, apart
        self._numbers = {i.name: number for number, i in enumerate([*instances, *apart])}
        self._stack, self._sessions = ExitStack(), queue.SimpleQueue[Any]()
        machine, machines = study.machine, list[Any]()
        self.targets = dict[str, str | None]()  # by the name of the machine; None of the study's
        try:
            for target in targets or [machine.device]:
                config = MachineConfig.of(target, None if targets else machine.options)
                for _ in range(jobs):
                    session = self._stack.enter_context(open_device(config))
                    self._sessions.put((session, config))
                    machines.append(session)
                    self.targets[session.capabilities.name] = config.target if targets else None
            self.n_workers = max(len(targets), 1) * jobs
            self.capabilities: Capabilities = machines[0].capabilities
            check_alike([session.capabilities for session in machines])
            self._task = train_task() if study.train is not None else None
            check_study(study, instances, self.capabilities, self._task)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, rows: RowFile, points: Iterable[Point], report: Report) -> None:
        """Make all jobs that these points need and that are not among the rows.

        A point needs one job of each model, and more while its interval is too wide, up to the
        `max_runs` of the study. Which they are depends on the rows, and not on the order of jobs.
        """
        waiting, batch = list(points), 0
        while waiting:
            here = [one for point in waiting for one in self.on_machines(point)]
            jobs = [_Job(p, instance, batch) for p in here for instance in self.instances]
            self._make(jobs, rows, report)
            batch += 1
            waiting = [p for p in waiting if self._needs_more(p, rows.rows, batch)]

    def try_out(self, rows: RowFile, points: Iterable[Point], report: Report) -> None:
        """Make one job of each model that is kept apart, at each point."""
        jobs = [_Job(point, instance, 0) for point in points for instance in self.apart]
        self._make(jobs, rows, report)

    def share(
        self,
        point: Point,
        rows: dict[str, Row],
        n_batches: int | None = None,
        *,
        level: float = 0.95,
    ) -> Share:
        """Return the share of successes at a point, of as many batches or of all."""
        return share_of(*self.counts(point, rows, n_batches), level=level)

    def counts(
        self, point: Point, rows: dict[str, Row], n_batches: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the successes of each model at a point, and its runs.

        Where the study has several machines they are arrays (models, machines).
        """
        places = self.on_machines(point)
        found = np.array(
            [
                [self._counts(one, instance, rows, n_batches) for one in places]
                for instance in self.instances
            ]
        )
        found = found[:, 0] if len(places) == 1 else found
        return found[..., 0], found[..., 1]

    def on_machines(self, point: Point) -> list[Point]:
        """Return a point on each machine of the study, which its seed makes."""
        machine = self.study.machine
        return [(*point, (machine.seed_setting, seed)) for seed in machine.seeds] or [point]

    def _make_job(self, session: Session, point: Point, instance: Instance, batch: int) -> Row:
        seed = self.seed_of(instance, batch)
        levels = dict(point)
        settings = {n: float(v) for n, v in levels.items() if n not in JOB_FACTORS}
        model = instance.model
        if model is None:  # it would be a training
            raise TypeError(instance.name)
        samples = session.sample(
            model,
            schedule_of(levels, session.capabilities),
            n_runs=self.study.repeat.runs,
            seed=seed,
            coupling_bits=None if "coupling_bits" not in levels else int(levels["coupling_bits"]),
            lowering=str(levels.get("lowering", "max")),
            settings={**self.study.machine.settings, **settings} or None,
        )
        energies = samples.energies
        return Row(
            factors=levels,
            model=instance.name,
            model_digest=samples.record.coupling,
            n_spins=model.n_spins,
            batch=batch,
            seed=seed,
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

    def _make_training(self, task: TrainTask, config: MachineConfig, job: _Job) -> Row:
        instance, levels = job.instance, dict(job.point)
        seed = self.seed_of(instance, job.batch)
        recipe = {name: level for name, level in levels.items() if name in task.factors}
        settings = {n: float(v) for n, v in levels.items() if n not in task.factors}
        known = {**config.settings, **self.study.machine.settings, **settings}
        here, options = config.model_copy(update={"settings": known}), self.study.train
        began = time.perf_counter()
        with open_device(here) as session:
            found = task.train(session, options.options if options else {}, recipe, seed)
            device = session.capabilities.name
        objective = found.objective
        return Row(
            *(levels, instance.name, "", found.n_spins, job.batch, seed, device, found.tested),
            *(found.correct, instance.target.energy, instance.target.source),
            *(objective, objective, 0.0, 1, time.perf_counter() - began, 0.0),
            *(_software(), found.sha256),
        )

    def _make(self, jobs: Sequence[_Job], rows: RowFile, report: Report) -> None:
        """Run the jobs that have no row, each on whichever session is free.

        An interrupt waits for those that run.
        """
        missing = [job for job in jobs if job.key not in rows.rows]
        n_known = len(rows.rows) + len(missing)
        pool = ThreadPoolExecutor(self.n_workers, "cim-hal sweep")
        try:
            futures = [
                pool.submit(self.on_free_session, job.point, job.instance, job.batch)
                for job in missing
            ]
            for future in as_completed(futures):
                row = future.result()
                rows.add(row)
                report(row, len(rows.rows), n_known)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def on_free_session(self, point: Point, instance: Instance, batch: int) -> Row:
        """Run one job on the next session that is free."""
        session, config = self._sessions.get()
        try:
            if self._task is not None:
                return self._make_training(self._task, config, _Job(point, instance, batch))
            return self._make_job(session, point, instance, batch)
        finally:
            self._sessions.put((session, config))

    def _needs_more(self, point: Point, rows: dict[str, Row], n_batches: int) -> bool:
        repeat = self.study.repeat
        if repeat.width is None or (n_batches + 1) * repeat.runs > repeat.most_runs:
            return False
        share = self.share(point, rows, n_batches)
        return share.of_family.high - share.of_family.low > repeat.width

    def _counts(
        self, point: Point, instance: Instance, rows: dict[str, Row], n_batches: int | None
    ) -> tuple[int, int]:
        found, batch = (0, 0), 0
        while batch != n_batches:
            row = rows.get(key_of(point, instance.name, batch))
            if row is None:
                break
            found = found[0] + row.successes, found[1] + row.runs
            batch += 1
        return found

    def seed_of(self, instance: Instance, batch: int = 0) -> int:
        """Return the seed of a job: the same at every point, so that levels share their noise."""
        number = self._numbers[instance.name]
        words = np.random.SeedSequence([self.study.study.seed, number, batch])
        return int(words.generate_state(1, np.uint32)[0])


def _software() -> str:
    return f"cim-hal {version('cim-hal')}"


# ---- before work begins ---------------------------------------------------------------------


def repeat_row(sweep: Sweep, row: Row) -> Row:
    """Run the job of a row again."""
    models = [*sweep.instances, *sweep.apart]
    instance = next((i for i in models if i.name == row.model), None)
    if instance is None:
        raise StudyError(f"the study has no model {row.model}")
    return sweep.on_free_session(tuple(row.factors.items()), instance, row.batch)


def _spins_by_run(samples: Any) -> bytes:
    """Return the spins, which are sorted by energy, in an order that ties do not change."""
    rows = np.ascontiguousarray(samples.spins, dtype=np.int8)
    return rows[np.lexsort(rows.T)].tobytes()
