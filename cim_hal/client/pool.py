"""Many machines as one: an executor for samples."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import os
import threading
import weakref
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cim_hal.client.async_pool import JOBS_PER_MACHINE, AsyncDevicePool, closed_error
from cim_hal.client.routing import each
from cim_hal.client.spawn import spawn_server
from cim_hal.errors import LocalProtocolError, ModelError
from cim_hal.model.conversion import duration, flag, require_each, whole_number

if TYPE_CHECKING:
    from typing import Unpack

    from cim_hal.client.options import (
        ConnectionKeywords,
        ConnectionOptions,
        SampleKeywords,
        Target,
    )
    from cim_hal.client.spawn import SpawnedServer
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.config import MachineConfig
    from cim_hal.machine.options import OptionValue
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule

__all__ = ["DevicePool"]

T = TypeVar("T")

MAX_MACHINES = 1024  # of one pool in processes of their own
END_S = 5.0  # for goodbyes to machines


class DevicePool:
    """Several machines as one; a context manager. Any thread may use it.

    It looks like a ``concurrent.futures.Executor`` for samples, and may stand wherever a session is
    sampled from. A job goes to a machine that can do it, that holds its couplings if possible,
    and that is expected to be free soonest; each has at most two at a time. The jobs of a machine
    that dies go to the others, with the same seeds; so do jobs that failed with an error that is
    `retryable`, a few times. A machine with an endpoint is in service again when it comes back;
    one that is locked by another, stopped or not safe gets no jobs until it is free.

    It pickles as its addresses and connects where it arrives; after a fork it belongs to the
    parent.

    Parameters
    ----------
    targets : sequence of str, path, MachineConfig or Driver
        As of `open_device`, any mixture.
    jobs_per_machine : int
        Jobs that a machine is given at a time.
    timeout_s : float
        How long a machine may be silent before it is taken for dead.
    key, server_key, retries, options
        As of `open_device`.
    servers : sequence of SpawnedServer
        Processes behind the first targets: they are watched, and ended with the pool.
    connect : bool
        Connect now and not at the first use.

    Raises
    ------
    ModelError
        There are no targets.
    CimError
        A machine is not there, as of `open_device`: all must be at the beginning.

    Examples
    --------
    >>> from cim_hal import DevicePool, IsingModel
    >>> pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    >>> with DevicePool(["emulator", "emulator"]) as pool:
    ...     jobs = [pool.submit(pair, n_runs=4, seed=seed) for seed in range(3)]
    ...     [job.result().best_energy for job in jobs]
    [-1.0, -1.0, -1.0]
    """

    def __init__(
        self,
        targets: Sequence[Target | ConnectionOptions],
        *,
        jobs_per_machine: int = JOBS_PER_MACHINE,
        servers: Sequence[SpawnedServer] = (),
        connect: bool = True,
        **options: Unpack[ConnectionKeywords],
    ) -> None:
        connect = flag("connect", connect, ModelError)
        self._pool = AsyncDevicePool(
            targets, jobs_per_machine=jobs_per_machine, servers=servers, **options
        )
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cim-hal pool", daemon=True
        )
        self._thread.start()
        self._end = weakref.finalize(
            self, _end, self._pool, self._loop, self._thread, tuple(servers), self._pid
        )
        if connect:
            self.open()

    @classmethod
    def local(
        cls,
        target: str | os.PathLike[str] | MachineConfig,
        *,
        machines: int,
        jobs_per_machine: int = JOBS_PER_MACHINE,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """Return a pool of `machines` equal machines, each in a process of its own.

        Target and options are as of `spawn_server`. The machines share the processors of this
        process, at least a thread each. The processes end with the pool, and with this process
        however that ends.

        Raises
        ------
        TargetError
            No driver goes by that name, or it did not start.
        """
        machines = whole_number("machines", machines, ModelError, 1, MAX_MACHINES)
        jobs_per_machine = whole_number("jobs_per_machine", jobs_per_machine, ModelError, 1)
        threads = max(_processors() // machines, 1)
        with ThreadPoolExecutor(machines) as starters:
            starting = [
                starters.submit(spawn_server, target, threads=threads, options=options)
                for _ in range(machines)
            ]
        servers = [each.result() for each in starting if not each.exception()]
        try:
            for each in starting:
                each.result()
            endpoints = [server.endpoint for server in servers]
            return cls(endpoints, jobs_per_machine=jobs_per_machine, servers=servers)
        except BaseException:
            for server in servers:
                server.close()
            raise

    def open(self) -> Self:
        """Connect now and not at the first use, as a pool that arrived by pickle does."""
        try:
            self._call(self._pool.open()).result()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def capabilities(self) -> Capabilities:
        """What every machine of the pool can do; a larger job goes to those that can."""
        self._call(self._pool.open()).result()
        return self._pool.capabilities

    @property
    def machines(self) -> dict[str, bool]:
        """Target of each machine, and whether it is in service."""
        self._check_usable()
        return self._pool.machines

    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> Future[SampleSet]:
        """Start a job and return at once; options as of `Session.submit`.

        The future's ``cancel`` cancels the job on its machine.
        """
        return self._call(self._pool.sample(model, schedule, timeout_s=timeout_s, **options))

    def sample(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> SampleSet:
        """Run a job and return its samples; errors as of `AsyncDevicePool.sample`."""
        job = self.submit(model, schedule, timeout_s=timeout_s, **options)
        try:
            return job.result()
        except KeyboardInterrupt:
            job.cancel()
            raise

    def map(
        self,
        models: Iterable[IsingModel],
        schedule: PumpSchedule | None = None,
        *,
        seeds: Iterable[int] | None = None,
        **options: Any,
    ) -> Iterator[SampleSet]:
        """Run many jobs at once and yield their samples in order, as they are done.

        All are started before the first is waited for. One that fails ends the others.
        """
        jobs = [self.submit(m, schedule, **o) for m, o in each(models, seeds, options)]
        return _in_order(jobs)

    @staticmethod
    def as_completed(
        jobs: Iterable[Future[SampleSet]], *, timeout_s: float | None = None
    ) -> Iterator[Future[SampleSet]]:
        """Yield jobs as they end; see ``concurrent.futures.as_completed``."""
        jobs = require_each("jobs", jobs, Future, ModelError, hint="pass what `submit` returned")
        seconds = None if timeout_s is None else duration("timeout_s", timeout_s, ModelError)
        return concurrent.futures.as_completed(jobs, None if seconds == math.inf else seconds)

    def close(self) -> None:
        """Close all sessions and end the processes of `local`; jobs that still run are cancelled.

        Twice is no mistake. In a child that inherited the pool by a fork it does nothing.
        """
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        again = partial(DevicePool, jobs_per_machine=self._pool.jobs_per_machine, connect=False)
        return again, (self._pool.connections,)

    def _call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            self._check_usable()
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:
            work.close()
            raise

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise LocalProtocolError(
                "the pool was opened before a fork, and used after it",
                hint="open a pool in the child process",
            )
        if not self._end.alive:
            raise closed_error()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_order(jobs: list[Future[SampleSet]]) -> Iterator[SampleSet]:
    try:
        for job in jobs:
            yield job.result()
    finally:
        for job in jobs:
            job.cancel()


def _end(
    pool: AsyncDevicePool,
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    servers: tuple[SpawnedServer, ...],
    pid: int,
) -> None:
    """Close the pool in its loop within `END_S`, end the loop, then the processes."""
    if os.getpid() != pid:
        return
    if threading.current_thread() is thread:  # collected there: it cannot wait for itself
        arguments = (pool, loop, thread, servers, pid)
        threading.Thread(target=_end, args=arguments, name="cim-hal pool end").start()
        return
    try:
        # machines that are gone are not waited for
        goodbye = asyncio.wait_for(pool.close(), END_S)
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(goodbye, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        for server in servers:
            server.close()
