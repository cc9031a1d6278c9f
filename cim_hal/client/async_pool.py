"""Many machines as one, for an event loop."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cim_hal.client.options import ConnectionOptions
from cim_hal.client.routing import JobRequest, common_capabilities
from cim_hal.client.scheduler import PoolScheduler
from cim_hal.errors import JobTimeoutError, LocalProtocolError, ModelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from cim_hal.client.options import ConnectionKeywords, SampleKeywords
    from cim_hal.client.spawn import SpawnedServer
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule

__all__ = ["JOBS_PER_MACHINE", "AsyncDevicePool", "each"]

JOBS_PER_MACHINE = 2  # one runs, the next is on its way


def connections_to(
    targets: Sequence[str | Driver | ConnectionOptions], options: ConnectionKeywords
) -> tuple[ConnectionOptions, ...]:
    """Return the connections to the machines of a pool.

    Raises
    ------
    ModelError
        There is none, or `targets` is one string.
    """
    if isinstance(targets, str) or not targets:
        raise ModelError(f"targets = {targets!r}", hint="it must be a list of one target or more")
    return tuple(
        target if isinstance(target, ConnectionOptions) else ConnectionOptions.of(target, options)
        for target in targets
    )


class AsyncDevicePool:
    """Several machines as one in an event loop; an async context manager.

    Parameters as of `DevicePool`, which says how jobs are dealt out and what becomes of those of
    a machine that dies.

    Examples
    --------
    >>> import asyncio
    >>> from cim_hal import AsyncDevicePool, IsingModel
    >>> async def main(model):
    ...     async with AsyncDevicePool(["emulator", "emulator"]) as pool:
    ...         jobs = (pool.sample(model, n_runs=4, seed=seed) for seed in range(3))
    ...         return await asyncio.gather(*jobs)
    >>> pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    >>> [samples.best_energy for samples in asyncio.run(main(pair))]
    [-1.0, -1.0, -1.0]
    """

    def __init__(
        self,
        targets: Sequence[str | Driver | ConnectionOptions],
        *,
        jobs_per_machine: int = JOBS_PER_MACHINE,
        servers: Sequence[SpawnedServer] = (),
        **options: Unpack[ConnectionKeywords],
    ) -> None:
        if jobs_per_machine < 1:
            raise ModelError(f"jobs_per_machine = {jobs_per_machine}", hint="it must be positive")
        self._connections = connections_to(targets, options)
        self._jobs_per_machine = jobs_per_machine
        self._scheduler = PoolScheduler(self._connections, servers, jobs_per_machine)
        self._opening: asyncio.Task[None] | None = None

    @property
    def plan(self) -> tuple[tuple[ConnectionOptions, ...], int]:
        """The connections to the machines, and how many jobs each is given at a time."""
        return self._connections, self._jobs_per_machine

    @property
    def capabilities(self) -> Capabilities:
        """What every machine of the pool can do; known once it is open."""
        machines = self._scheduler.machines
        if not machines:
            raise LocalProtocolError("the pool is not open yet", hint="write async with")
        return common_capabilities([machine.load.capabilities for machine in machines])

    @property
    def machines(self) -> dict[str, bool]:
        """Target of each machine, and whether it is in service."""
        return {
            f"{number}: {machine}": machine.load.is_in_service
            for number, machine in enumerate(self._scheduler.machines)
        }

    async def open(self) -> Self:
        """Connect to all machines; ``async with`` does it."""
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._scheduler.open())
        await asyncio.shield(self._opening)
        return self

    async def sample(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> SampleSet:
        """Run a job on one of the machines; options as of `Session.submit`.

        Raises
        ------
        NoMachineError
            None is left.
        CapabilityError
            None of them can.
        JobTimeoutError
            It was not done in `timeout_s`; it was cancelled.
        CimError
            As of `Session.sample`.
        """
        if options.get("seed") is None:  # the same wherever, and however often, it is run
            options["seed"] = secrets.randbits(63)
        try:
            async with asyncio.timeout(timeout_s):
                await self.open()
                return await self._scheduler.sample(JobRequest(model, schedule, options))
        except TimeoutError as error:
            if isinstance(error, JobTimeoutError) or type(error) is not TimeoutError:
                raise
            raise JobTimeoutError(f"no machine had done the job after {timeout_s:g} s") from None

    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> asyncio.Task[SampleSet]:
        """Start `sample` as a task."""
        work = self.sample(model, schedule, timeout_s=timeout_s, **options)
        return asyncio.get_running_loop().create_task(work)

    async def map(
        self,
        models: Iterable[IsingModel],
        schedule: PumpSchedule | None = None,
        *,
        seeds: Iterable[int] | None = None,
        **options: Any,
    ) -> AsyncIterator[SampleSet]:
        """Yield the samples of many models in their order, as they are done."""
        jobs = [self.submit(m, schedule, **o) for m, o in each(models, seeds, options)]
        try:
            for job in jobs:
                yield await job
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def close(self) -> None:
        """Close all sessions; jobs that still run are cancelled. Twice is no mistake."""
        await self._scheduler.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return partial(AsyncDevicePool, jobs_per_machine=self._jobs_per_machine), (
            self._connections,
        )


def each(
    models: Iterable[IsingModel], seeds: Iterable[int] | None, options: Mapping[str, Any]
) -> Iterator[tuple[IsingModel, Any]]:
    """Yield models with the options of each.

    Raises
    ------
    ValueError
        There are more models than seeds, or the other way.
    """
    if seeds is None:
        return ((model, options) for model in models)
    pairs = zip(models, seeds, strict=True)
    return ((model, {**options, "seed": seed}) for model, seed in pairs)
