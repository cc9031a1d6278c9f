"""Many machines as one, for an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cim_hal.client.async_session import AsyncSession
from cim_hal.client.options import ConnectionOptions, check_request
from cim_hal.client.routing import (
    JobRequest,
    Load,
    common_capabilities,
    each,
    misfit,
    next_pair,
    unavailability,
)
from cim_hal.client.spawn import SpawnedServer
from cim_hal.errors import (
    CapabilityError,
    CimError,
    ClosedError,
    EmergencyStopError,
    InterlockError,
    JobTimeoutError,
    LeaseHeldError,
    LocalProtocolError,
    ModelError,
    NoMachineError,
    TransportError,
)
from cim_hal.machine.config import MachineConfig
from cim_hal.model.conversion import duration, require_each, whole_number

if TYPE_CHECKING:
    from typing import Unpack

    from cim_hal.client.options import ConnectionKeywords, SampleKeywords, Target
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule

__all__ = ["JOBS_PER_MACHINE", "AsyncDevicePool", "closed_error", "each"]

JOBS_PER_MACHINE = 2  # one runs, the next is on its way
POLL_S = 1.0  # how often a machine is asked whether it takes jobs
PROCESS_POLL_S = 0.1  # how often a process of ours is checked
MOST_TRIES = 4  # of one job that machines fail with a retryable error
RECONNECT_S, LONGEST_RECONNECT_S = 1.0, 10.0  # between two attempts to reach a lost machine
# The errors of a job whose machine is locked, stopped or not safe.
UNAVAILABLE = (LeaseHeldError, EmergencyStopError, InterlockError)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Machine:
    """A machine of the pool: how to reach it, and what it has to do."""

    options: ConnectionOptions
    session: AsyncSession
    load: Load
    server: SpawnedServer | None = None
    attempts: set[asyncio.Task[SampleSet]] = field(default_factory=set)
    error: CimError | None = None

    def __str__(self) -> str:
        target = self.options.target
        return target.target if isinstance(target, MachineConfig) else type(target).__name__


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
        targets: Sequence[Target | ConnectionOptions],
        *,
        jobs_per_machine: int = JOBS_PER_MACHINE,
        servers: Sequence[SpawnedServer] = (),
        **options: Unpack[ConnectionKeywords],
    ) -> None:
        jobs_per_machine = whole_number("jobs_per_machine", jobs_per_machine, ModelError, 1)
        is_list = isinstance(targets, Sequence) and not isinstance(targets, str | os.PathLike)
        if not (is_list and targets):
            hint = "it must be a list of one target or more"
            raise ModelError(f"targets = {targets!r:.100}", hint=hint)
        servers = require_each(
            "servers", servers, SpawnedServer, ModelError, hint="see spawn_server"
        )
        self.connections = tuple(
            target
            if isinstance(target, ConnectionOptions)
            else ConnectionOptions.of(target, options)
            for target in targets
        )
        self.jobs_per_machine = jobs_per_machine
        self._servers = [*servers, *[None] * (len(targets) - len(servers))]
        self._machines: list[_Machine] = []
        self._waiting: dict[JobRequest, asyncio.Future[_Machine]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What every machine of the pool can do; known once it is open."""
        if not self._machines:
            raise LocalProtocolError("the pool is not open yet", hint="write async with")
        return common_capabilities([machine.load.capabilities for machine in self._machines])

    @property
    def machines(self) -> dict[str, bool]:
        """Target of each machine, and whether it is in service."""
        return {
            f"{number}: {machine}": machine.load.is_in_service
            for number, machine in enumerate(self._machines)
        }

    async def open(self) -> Self:
        """Connect to all machines; ``async with`` does it."""
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
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
        check_request(model, schedule, options)
        if timeout_s is not None:
            duration("timeout_s", timeout_s, ModelError)
        if options.get("seed") is None:  # the same wherever, and however often, it is run
            options["seed"] = secrets.randbits(63)
        try:
            async with asyncio.timeout(timeout_s):
                await self.open()
                return await self._run(JobRequest(model, schedule, options))
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
        self._is_closed = True
        for machine in self._waiting.values():
            if not machine.done():
                machine.set_exception(closed_error())
        for task in self._background:
            task.cancel()
        alive = [machine for machine in self._machines if machine.load.is_alive]
        attempts = [attempt for machine in alive for attempt in machine.attempts]
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, *self._background, return_exceptions=True)
        await asyncio.gather(*(m.session.close() for m in alive), return_exceptions=True)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return partial(AsyncDevicePool, jobs_per_machine=self.jobs_per_machine), (self.connections,)

    async def _open(self) -> None:
        """Open a session with every machine; all must be there."""
        opened = (AsyncSession(options).open() for options in self.connections)
        outcomes = await asyncio.gather(*opened, return_exceptions=True)
        sessions = [outcome for outcome in outcomes if isinstance(outcome, AsyncSession)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                await asyncio.gather(*(session.close() for session in sessions))
                raise outcome
        for options, session, server in zip(self.connections, sessions, self._servers, strict=True):
            load = Load(session.capabilities, self.jobs_per_machine)
            machine = _Machine(options, session, load, server)
            self._machines.append(machine)
            self._spawn(self._poll(machine))
        if any(self._servers):
            self._spawn(self._poll_processes())

    # ---- jobs -----------------------------------------------------------------------------------

    async def _run(self, request: JobRequest) -> SampleSet:
        """Run a job on the machine that suits it best, and on another one if that is lost."""
        tries = 0
        while True:
            machine = await self._assign(request)
            try:
                return await self._attempt(machine, request)
            except CimError as error:
                if isinstance(error, UNAVAILABLE):
                    await self._check_availability(machine)
                if machine.load.is_in_service:
                    tries += 1
                    await self._retry_or_raise(error, machine, request, tries)

    async def _attempt(self, machine: _Machine, request: JobRequest) -> SampleSet:
        loop = asyncio.get_running_loop()
        began, load = loop.time(), machine.load
        sample = machine.session.sample(request.model, request.schedule, **request.options)
        attempt = loop.create_task(sample)
        machine.attempts.add(attempt)
        try:
            samples = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled() and not load.is_in_service:
                raise _lost(machine) from None  # ended because the machine is dead, or not ours
            attempt.cancel()  # the caller is cancelled, and its job with it
            raise
        except TransportError as error:
            if error.retryable or (isinstance(error, ClosedError) and not self._is_closed):
                self._mark_lost(machine, error)
            raise
        else:
            load.held.add(request.model)
            load.took(loop.time() - began)
            return samples
        finally:
            machine.attempts.discard(attempt)
            load.in_flight -= 1
            self._dispatch()

    async def _retry_or_raise(
        self, error: CimError, machine: _Machine, request: JobRequest, tries: int
    ) -> None:
        """Return where a job may be tried again; raise `error` where not."""
        if isinstance(error, CapabilityError):
            request.refusals[machine.load] = error
            return
        if not (error.retryable or isinstance(error, UNAVAILABLE)) or tries >= MOST_TRIES:
            raise error
        attempts = machine.options.retries.attempts()
        pauses = [next(attempts).pause_s for _ in range(tries)]
        await asyncio.sleep(max(min(pauses[-1], machine.options.timeout_s), error.retry_after_s))

    async def _assign(self, request: JobRequest) -> _Machine:
        """Wait for a machine that takes the job."""
        if self._is_closed:
            raise closed_error()
        found = self._waiting[request] = asyncio.get_running_loop().create_future()
        self._dispatch()
        try:
            return await found
        except asyncio.CancelledError:
            if found.done() and not found.cancelled() and not found.exception():
                found.result().load.in_flight -= 1  # assigned, and nobody is there to take it
                self._dispatch()
            raise
        finally:
            self._waiting.pop(request, None)

    def _dispatch(self) -> None:
        """Give waiting jobs to free machines; what goes wrong here is the outcome of them all."""
        try:
            self._refuse_hopeless()
            self._match()
        except Exception as error:  # noqa: BLE001  else they would wait for ever
            for machine in self._unassigned().values():
                machine.set_exception(error)

    def _unassigned(self) -> dict[JobRequest, asyncio.Future[_Machine]]:
        return {job: machine for job, machine in self._waiting.items() if not machine.done()}

    def _match(self) -> None:
        waiting = self._unassigned()
        machines = {machine.load: machine for machine in self._machines}
        while pair := next_pair(list(waiting), list(machines)):
            request, load = pair
            load.in_flight += 1
            waiting.pop(request).set_result(machines[load])

    def _refuse_hopeless(self) -> None:
        """Tell the jobs for which no machine is left."""
        loads = [machine.load for machine in self._machines if machine.load.is_alive]
        for request, machine in self._unassigned().items():
            misfits = [error for load in loads if (error := misfit(request, load)) is not None]
            if not loads:
                machine.set_exception(_none_left(self._machines))
            elif len(misfits) == len(loads):
                machine.set_exception(misfits[0])

    # ---- availability ---------------------------------------------------------------------------

    def _mark_lost(self, machine: _Machine, error: CimError) -> None:
        """Take a machine out of service, and its jobs from it."""
        if not machine.load.is_alive or self._is_closed:
            return
        machine.load.is_alive, machine.error = False, error
        for attempt in machine.attempts:
            attempt.cancel()
        self._spawn(machine.session.drop())
        if machine.server is None and machine.options.server:
            self._spawn(self._reconnect(machine))
        self._dispatch()

    async def _reconnect(self, machine: _Machine) -> None:
        """Try to reach a machine that was lost, and put it in service again."""
        pause_s = RECONNECT_S
        while not self._is_closed:
            await asyncio.sleep(pause_s)
            session = AsyncSession(machine.options)
            try:
                await session.open()
            except Exception as error:  # noqa: BLE001  whatever it is, it may pass
                log.info("the machine %s is still lost: %s", machine, error)
                await session.drop()
                pause_s = min(2 * pause_s, LONGEST_RECONNECT_S)
                continue
            machine.session = session
            machine.load = Load(session.capabilities, self.jobs_per_machine)
            self._dispatch()
            return

    async def _poll(self, machine: _Machine) -> None:
        """Check a machine; one that cannot be checked is lost, and its jobs go to others."""
        while not self._is_closed:
            await asyncio.sleep(POLL_S)
            if not machine.load.is_alive:
                continue
            try:
                await self._check_availability(machine)
            except Exception as error:
                log.exception("the machine %s cannot be checked", machine)
                self._mark_lost(machine, NoMachineError(f"{machine} cannot be checked: {error!r}"))

    async def _check_availability(self, machine: _Machine) -> None:
        """Ask whether a machine may be used; where it may not its jobs go to the others."""
        load = machine.load
        try:
            blocked = unavailability(await machine.session.status(), machine.options.epoch)
        except CimError as error:
            if isinstance(error, TransportError) and error.retryable:
                self._mark_lost(machine, error)
            return
        if blocked == load.blocked:
            return
        load.blocked = blocked
        if any(other.load.is_in_service for other in self._machines):
            for attempt in machine.attempts if blocked else ():
                attempt.cancel()
        self._dispatch()

    async def _poll_processes(self) -> None:
        """Notice at once when a process of our own is gone."""
        while True:
            await asyncio.sleep(PROCESS_POLL_S)
            for machine in self._machines:
                server = machine.server
                if server is not None and server.process.poll() is not None:
                    self._mark_lost(machine, _lost(machine))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _lost(machine: _Machine) -> NoMachineError:
    return NoMachineError(f"the machine {machine} is gone", endpoint=str(machine))


def _none_left(machines: list[_Machine]) -> NoMachineError:
    reasons = "; ".join(f"{machine}: {machine.error}" for machine in machines[:4])
    return NoMachineError(
        f"no machine of {len(machines)} is left: {reasons}",
        hint="start them again; those with an endpoint are tried again every few seconds",
    )


def closed_error() -> ClosedError:
    """Return the error of a pool that is used after its end."""
    return ClosedError("the pool is closed", hint="open another one")
