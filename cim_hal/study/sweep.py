"""Running a study: every job of every point, as often as the figures need it, on some machines."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import StudyError
from cim_hal.study.job import Job, Machine, machine_at, run_here, run_on
from cim_hal.study.job_factors import JOB_FACTORS, MODEL, runs_of
from cim_hal.study.plan import machine_of
from cim_hal.study.requirements import check_alike, check_study
from cim_hal.study.rows import Row, RowFile, key_of
from cim_hal.study.shares import Share, share_of
from cim_hal.study.tasks import train_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.config import MachineConfig
    from cim_hal.study.families import Instance
    from cim_hal.study.plan import Point, Study

__all__ = ["Sweep", "repeat_row"]

AHEAD = 128  # jobs that are submitted and not done

Submit = Callable[[Job], "Future[Row]"]
Report = Callable[[Row, int, int], None]  # a row, jobs done, jobs known so far


@dataclass(frozen=True)
class _Group:
    """Machines of one kind: sessions that are free, and what opens one elsewhere."""

    free: queue.SimpleQueue[tuple[Session, Machine]]
    machines: Sequence[Machine]
    capabilities: Capabilities


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
    keys : mapping
        `key` and `server_key` of `open_device`, for servers that ask for them.
    executor : concurrent.futures.Executor, optional
        What runs the jobs, each on a machine of its own process, instead of sessions here.

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
        keys: Mapping[str, Any] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.study, self.instances, self.apart = study, instances, apart
        self._numbers = {i.name: number for number, i in enumerate([*instances, *apart])}
        self._stack, self._executor, self._keys = ExitStack(), executor, keys or {}
        self._groups: dict[Point, _Group] = {}
        self.targets = dict[str, str | None]()  # by the name of the machine; None of the study's
        self.n_workers = max(len(targets), 1) * jobs
        self._how = targets, jobs
        self.of_recipe: Collection[str] = ()  # factors of trainings that are not the machine's
        try:
            task = train_task() if study.train is not None else None
            if task is not None:
                self.of_recipe = [name for name in task.factors if name not in JOB_FACTORS]
            for place in study.machines() or [()]:
                group = self._groups[place] = self._opened(place, targets, jobs)
                session, _ = one = group.free.get()
                group.free.put(one)
                check_study(study, self._instances_on(place), session, task)
        except BaseException:
            self._stack.close()
            raise

    def _opened(self, place: Point, targets: Sequence[MachineConfig | str], jobs: int) -> _Group:
        """Open the machines of a place in the study, which are of one kind."""
        free, machines, found = queue.SimpleQueue[Any](), list[Machine](), list[Any]()
        for target in targets or [None]:
            machine = machine_at(self.study, place, target, self._keys)
            machines.append(machine)
            for _ in range(1 if self._executor else jobs):
                session = self._stack.enter_context(machine.open())
                free.put((session, machine))
                found.append(session.capabilities)
            self.targets[found[-1].name] = machine.config.target if targets else None
        check_alike(found)
        return _Group(free, machines, found[0])

    @property
    def capabilities(self) -> Capabilities:
        """Those of the machine, or of the first where machines are a factor."""
        return next(iter(self._groups.values())).capabilities

    def capabilities_at(self, point: Point) -> Capabilities:
        """Return those of the machine of a point."""
        return self._group_of(point).capabilities

    def instances_at(self, point: Point) -> Sequence[Instance]:
        """Return the models of a point: all, or those of its kind where that is a factor."""
        return _of_kind(self.instances, point)

    def apart_at(self, point: Point) -> Sequence[Instance]:
        """Return the models on which a point is tuned."""
        return _of_kind(self.apart, point)

    def _instances_on(self, place: Point) -> list[Instance]:
        """Return the models that a machine of the study has."""
        if MODEL not in self.study.factors:
            return list(self.instances)
        here = [dict(point) for point in self.study.points() if machine_of(point) == place]
        kinds = {levels[MODEL] for levels in here}
        return [instance for instance in self.instances if instance.family in kinds]

    def _group_of(self, point: Point) -> _Group:
        """Return the machines of a point; a control is on the first, which it does not ask."""
        return self._groups.get(machine_of(point)) or next(iter(self._groups.values()))

    def open_for(self, points: Iterable[Point]) -> None:
        """Open machines of options between those of the file, at which a cliff is sought."""
        for place in dict.fromkeys(map(machine_of, points)):
            if place and place not in self._groups:
                self._groups[place] = self._opened(place, *self._how)

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
        self.open_for(waiting)
        while waiting:
            here = [one for point in waiting for one in self.on_machines(point)]
            jobs = [self._job(p, i, batch) for p in here for i in self.instances_at(p)]
            self._make(jobs, rows, report)
            batch += 1
            waiting = [p for p in waiting if self._needs_more(p, rows.rows, batch)]

    def try_out(self, rows: RowFile, points: Iterable[Point], report: Report) -> None:
        """Make one job of each model that is kept apart, at each point."""
        jobs = [self._job(point, i, 0) for point in points for i in self.apart_at(point)]
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
                for instance in self.instances_at(point)
            ]
        )
        found = found[:, 0] if len(places) == 1 else found
        return found[..., 0], found[..., 1]

    def on_machines(self, point: Point) -> list[Point]:
        """Return a point on each machine of the study, which its seed makes."""
        machine = self.study.machine
        return [(*point, (machine.seed_setting, seed)) for seed in machine.seeds] or [point]

    def _job(self, point: Point, instance: Instance, batch: int) -> Job:
        return Job(self.study, point, instance, batch, self.seed_of(instance, batch))

    def _make(self, jobs: Sequence[Job], rows: RowFile, report: Report) -> None:
        """Run the jobs that have no row, on sessions here or wherever the executor does.

        An interrupt waits for those that run here, and gives up those that run elsewhere.
        """
        missing = [job for job in jobs if job.key not in rows.rows]
        n_known = len(rows.rows) + len(missing)
        here = ThreadPoolExecutor(self.n_workers, "cim-hal sweep")
        submit = partial(here.submit, self.on_free_session)
        with here:
            for row in _as_they_end(self._elsewhere() or submit, missing):
                rows.add(row)
                report(row, len(rows.rows), n_known)

    def _elsewhere(self) -> Submit | None:
        """Return what submits jobs to the executor, in turn to the machines of their place."""
        executor, turns = self._executor, count()
        if executor is None:
            return None

        def submit(job: Job) -> Future[Row]:
            machines = self._group_of(job.point).machines
            return executor.submit(run_on, machines[next(turns) % len(machines)], job)

        return submit

    def on_free_session(self, job: Job) -> Row:
        """Run one job on the next session that is free."""
        group = self._group_of(job.point)
        session, machine = group.free.get()
        try:
            is_training = self.study.train is not None
            return run_on(machine, job) if is_training else run_here(session, machine, job)
        finally:
            group.free.put((session, machine))

    def _needs_more(self, point: Point, rows: dict[str, Row], n_batches: int) -> bool:
        repeat = self.study.repeat
        runs = runs_of(dict(point), repeat.runs)
        if repeat.width is None or (n_batches + 1) * runs > repeat.most_runs(runs):
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


def _of_kind(instances: Sequence[Instance], point: Point) -> Sequence[Instance]:
    kind = dict(point).get(MODEL)
    return [i for i in instances if i.family == kind] if kind is not None else instances


def _as_they_end(submit: Submit, jobs: Sequence[Job]) -> Iterator[Row]:
    """Yield rows as their jobs end; at most `AHEAD` jobs are out, as each holds its model."""
    left, running = iter(jobs), set[Future[Row]]()
    try:
        while running := running | {submit(job) for job in islice(left, AHEAD - len(running))}:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in running:
            future.cancel()


def repeat_row(sweep: Sweep, row: Row) -> Row:
    """Run the job of a row again."""
    models = [*sweep.instances, *sweep.apart]
    instance = next((i for i in models if i.name == row.model), None)
    if instance is None:
        raise StudyError(f"the study has no model {row.model}")
    point = tuple(row.factors.items())
    sweep.open_for([point])
    return sweep.on_free_session(
        Job(sweep.study, point, instance, row.batch, sweep.seed_of(instance, row.batch))
    )
