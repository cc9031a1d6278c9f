"""Several machines, their sessions and the jobs among them, in one event loop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cim_hal.client.async_session import AsyncSession
from cim_hal.client.routing import JobRequest, Load, misfit, next_pair
from cim_hal.errors import (
    CapabilityError,
    CimError,
    ClosedError,
    EmergencyStopError,
    InterlockError,
    LeaseHeldError,
    NoMachineError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from cim_hal.client.options import ConnectionOptions
    from cim_hal.client.spawn import SpawnedServer
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.wire.messages import StatusReport

__all__ = ["Machine", "PoolScheduler", "unavailability"]

POLL_S = 1.0  # how often a machine is asked whether it takes jobs
PROCESS_POLL_S = 0.1  # how often a process of ours is checked
MOST_TRIES = 4  # of one job that machines fail with a retryable error
RECONNECT_S, LONGEST_RECONNECT_S = 1.0, 10.0  # between two attempts to reach a lost machine
# The errors of a job whose machine is locked, stopped or not safe.
UNAVAILABLE = (LeaseHeldError, EmergencyStopError, InterlockError)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Machine:
    """A machine of the pool: how to reach it, and what it has to do."""

    options: ConnectionOptions
    session: AsyncSession
    load: Load
    server: SpawnedServer | None = None
    attempts: set[asyncio.Task[SampleSet]] = field(default_factory=set)
    error: CimError | None = None

    def __str__(self) -> str:
        target = self.options.target
        return target if isinstance(target, str) else type(target).__name__


@dataclass(eq=False)
class _Pending:
    request: JobRequest
    machine: asyncio.Future[Machine]


class PoolScheduler:
    """Runs each job on some machine; a machine that dies costs no result.

    Parameters
    ----------
    connections : sequence of ConnectionOptions
    servers : sequence of SpawnedServer
        Processes behind the first connections, to be watched; the scheduler does not end them.
    jobs_per_machine : int
        Jobs that a machine is given at a time.
    """

    def __init__(
        self,
        connections: Sequence[ConnectionOptions],
        servers: Sequence[SpawnedServer],
        jobs_per_machine: int,
    ) -> None:
        self._connections = connections
        self._servers = [*servers, *[None] * (len(connections) - len(servers))]
        self._slots = jobs_per_machine
        self._pending: list[_Pending] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self.machines: list[Machine] = []

    async def open(self) -> None:
        """Open a session with every machine; all must be there."""
        opened = [
            asyncio.ensure_future(AsyncSession(options).open()) for options in self._connections
        ]
        outcomes = await asyncio.gather(*opened, return_exceptions=True)
        sessions = [outcome for outcome in outcomes if isinstance(outcome, AsyncSession)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                await asyncio.gather(*(session.close() for session in sessions))
                raise outcome
        for options, session, server in zip(
            self._connections, sessions, self._servers, strict=True
        ):
            load = Load(session.capabilities, self._slots)
            self.machines.append(Machine(options, session, load, server))
        for machine in self.machines:
            self._spawn(self._poll(machine))
        if any(self._servers):
            self._spawn(self._poll_processes())

    async def sample(self, request: JobRequest) -> SampleSet:
        """Run a job on the machine that suits it best, and on another one if that is lost.

        Raises
        ------
        NoMachineError
            None is left.
        CapabilityError
            None of them can.
        CimError
            The machine that had it could not do it, and trying again would not help.
        """
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

    async def close(self) -> None:
        """Close all sessions; jobs that still run are cancelled."""
        self._is_closed = True
        for pending in self._pending:
            if not pending.machine.done():
                pending.machine.set_exception(_closed())
        for task in self._background:
            task.cancel()
        alive = [machine for machine in self.machines if machine.load.is_alive]
        attempts = [attempt for machine in alive for attempt in machine.attempts]
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, *self._background, return_exceptions=True)
        await asyncio.gather(*(m.session.close() for m in alive), return_exceptions=True)

    async def _attempt(self, machine: Machine, request: JobRequest) -> SampleSet:
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
        self, error: CimError, machine: Machine, request: JobRequest, tries: int
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

    # ---- assignment -----------------------------------------------------------------------------

    async def _assign(self, request: JobRequest) -> Machine:
        if self._is_closed:
            raise _closed()
        pending = _Pending(request, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._dispatch()
        try:
            return await pending.machine
        except asyncio.CancelledError:
            found = pending.machine
            if found.done() and not found.cancelled() and not found.exception():
                found.result().load.in_flight -= 1  # assigned, and nobody is there to take it
                self._dispatch()
            raise
        finally:
            if pending in self._pending:
                self._pending.remove(pending)

    def _dispatch(self) -> None:
        """Give waiting jobs to free machines; what goes wrong here is the outcome of them all."""
        self._pending = [pending for pending in self._pending if not pending.machine.done()]
        try:
            for pending in self._pending:
                self._check(pending)
            self._match()
        except Exception as error:  # noqa: BLE001  else they would wait for ever
            for pending in self._pending:
                if not pending.machine.done():
                    pending.machine.set_exception(error)
        self._pending = [pending for pending in self._pending if not pending.machine.done()]

    def _match(self) -> None:
        waiting = {p.request: p.machine for p in self._pending if not p.machine.done()}
        machines = {machine.load: machine for machine in self.machines}
        while pair := next_pair(list(waiting), list(machines)):
            request, load = pair
            load.in_flight += 1
            waiting.pop(request).set_result(machines[load])

    def _check(self, pending: _Pending) -> None:
        """Tell a job that no machine is left for it."""
        alive = [machine for machine in self.machines if machine.load.is_alive]
        if not alive:
            pending.machine.set_exception(_none_left(self.machines))
            return
        misfits = [error for m in alive if (error := misfit(pending.request, m.load)) is not None]
        if len(misfits) == len(alive):
            pending.machine.set_exception(misfits[0])

    # ---- availability ---------------------------------------------------------------------------

    def _mark_lost(self, machine: Machine, error: CimError) -> None:
        """Take a machine out of service, and its jobs from it."""
        if not machine.load.is_alive or self._is_closed:
            return
        machine.load.is_alive, machine.error = False, error
        for attempt in machine.attempts:
            attempt.cancel()
        self._spawn(machine.session.drop())
        if machine.server is None and machine.options.is_endpoint:
            self._spawn(self._reconnect(machine))
        self._dispatch()

    async def _reconnect(self, machine: Machine) -> None:
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
            machine.load = Load(session.capabilities, self._slots)
            self._dispatch()
            return

    async def _poll(self, machine: Machine) -> None:
        while not self._is_closed:
            await asyncio.sleep(POLL_S)
            if machine.load.is_alive:
                await self._check_or_lose(machine)

    async def _check_or_lose(self, machine: Machine) -> None:
        """Check a machine; one that cannot be checked is lost, and its jobs go to others."""
        try:
            await self._check_availability(machine)
        except Exception as error:
            log.exception("the machine %s cannot be checked", machine)
            self._mark_lost(machine, NoMachineError(f"{machine} cannot be checked: {error!r}"))

    async def _check_availability(self, machine: Machine) -> None:
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
        if any(other.load.is_in_service for other in self.machines):
            for attempt in machine.attempts if blocked else ():
                attempt.cancel()
        self._dispatch()

    async def _poll_processes(self) -> None:
        """Notice at once when a process of our own is gone."""
        while True:
            await asyncio.sleep(PROCESS_POLL_S)
            for machine in self.machines:
                server = machine.server
                if server is not None and server.process.poll() is not None:
                    self._mark_lost(machine, _lost(machine))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _lost(machine: Machine) -> NoMachineError:
    return NoMachineError(f"the machine {machine} is gone", endpoint=str(machine))


def _none_left(machines: list[Machine]) -> NoMachineError:
    reasons = "; ".join(f"{machine}: {machine.error}" for machine in machines[:4])
    return NoMachineError(
        f"no machine of {len(machines)} is left: {reasons}",
        hint="start them again; those with an endpoint are tried again every few seconds",
    )


def _closed() -> ClosedError:
    return ClosedError("the pool is closed", hint="open another one")


def unavailability(report: StatusReport, epoch: int) -> str:
    """Return why a machine takes no jobs of a session with `epoch`; empty if it takes them."""
    if report.stop is not None:
        return f"{report.stop.by} stopped it"
    if report.lock is not None and report.lock.epoch != epoch:
        return f"{report.lock.holder} locked it"
    telemetry = report.machine and report.machine.telemetry
    if telemetry and telemetry.open_interlocks:
        return f"{', '.join(telemetry.open_interlocks)}: open"
    return ""
