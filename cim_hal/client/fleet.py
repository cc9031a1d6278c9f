"""Several machines, their sessions and the jobs among them, in one event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cim_hal.client.async_session import AsyncSession
from cim_hal.client.obstacles import OBSTACLES, obstacle
from cim_hal.client.routing import Load, Wish, misfit, next_pair
from cim_hal.errors import CapabilityError, CimError, ClosedError, NoMachineError, TransportError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from cim_hal.client.road import Road
    from cim_hal.client.spawn import SpawnedServer
    from cim_hal.model.sampleset import SampleSet

__all__ = ["Fleet", "Machine"]

LOOK_S = 1.0  # how often a machine is asked whether it may be used
WATCH_S = 0.1  # how often is looked whether a process still lives
MOST_TRIES = 4  # of one job that machines fail with a retryable error
FIRST_CALL_S, LONGEST_CALL_S = 1.0, 10.0  # between two attempts to reach a lost machine


@dataclass(eq=False)
class Machine:
    """A machine of the pool: how to reach it, and what it has to do."""

    road: Road
    session: AsyncSession
    load: Load
    server: SpawnedServer | None = None
    attempts: set[asyncio.Task[SampleSet]] = field(default_factory=set)
    error: CimError | None = None

    def __str__(self) -> str:
        target = self.road.target
        return target if isinstance(target, str) else type(target).__name__


@dataclass(eq=False)
class _Order:
    wish: Wish
    seat: asyncio.Future[Machine]


class Fleet:
    """Runs each job on some machine; a machine that dies costs no result.

    Parameters
    ----------
    roads : sequence of Road
    servers : sequence of SpawnedServer
        Processes behind the first roads, to be watched; the fleet does not end them.
    jobs_per_machine : int
        Jobs that a machine is given at a time.
    """

    def __init__(
        self, roads: Sequence[Road], servers: Sequence[SpawnedServer], jobs_per_machine: int
    ) -> None:
        self._roads = roads
        self._servers = [*servers, *[None] * (len(roads) - len(servers))]
        self._slots = jobs_per_machine
        self._orders: list[_Order] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self.machines: list[Machine] = []

    async def open(self) -> None:
        """Open a session with every machine; all must be there."""
        opened = [asyncio.ensure_future(AsyncSession(road).open()) for road in self._roads]
        outcomes = await asyncio.gather(*opened, return_exceptions=True)
        sessions = [outcome for outcome in outcomes if isinstance(outcome, AsyncSession)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                await asyncio.gather(*(session.close() for session in sessions))
                raise outcome
        for road, session, server in zip(self._roads, sessions, self._servers, strict=True):
            load = Load(session.capabilities, self._slots)
            self.machines.append(Machine(road, session, load, server))
        for machine in self.machines:
            self._spawn(self._look_after(machine))
        if any(self._servers):
            self._spawn(self._watch())

    async def sample(self, wish: Wish) -> SampleSet:
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
            machine = await self._seat(wish)
            try:
                return await self._attempt(machine, wish)
            except CimError as error:
                if isinstance(error, OBSTACLES):
                    await self._look(machine)
                if machine.load.is_in_service:
                    tries += 1
                    await self._weigh(error, machine, wish, tries)

    async def close(self) -> None:
        """Close all sessions; jobs that still run are cancelled."""
        self._is_closed = True
        for order in self._orders:
            if not order.seat.done():
                order.seat.set_exception(_closed())
        for task in self._background:
            task.cancel()
        alive = [machine for machine in self.machines if machine.load.is_alive]
        attempts = [attempt for machine in alive for attempt in machine.attempts]
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, *self._background, return_exceptions=True)
        await asyncio.gather(*(m.session.close() for m in alive), return_exceptions=True)

    async def _attempt(self, machine: Machine, wish: Wish) -> SampleSet:
        loop = asyncio.get_running_loop()
        began, load = loop.time(), machine.load
        sample = machine.session.sample(wish.model, wish.schedule, **wish.options)
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
                self._bury(machine, error)
            raise
        else:
            load.held.add(wish.model)
            load.took(loop.time() - began)
            return samples
        finally:
            machine.attempts.discard(attempt)
            load.in_flight -= 1
            self._dispatch()

    async def _weigh(self, error: CimError, machine: Machine, wish: Wish, tries: int) -> None:
        """Return where a job may be tried again; raise `error` where not."""
        if isinstance(error, CapabilityError):
            wish.shunned[machine.load] = error
            return
        if not (error.retryable or isinstance(error, OBSTACLES)) or tries >= MOST_TRIES:
            raise error
        attempts = machine.road.retries.attempts()
        pauses = [next(attempts).pause_s for _ in range(tries)]
        await asyncio.sleep(max(min(pauses[-1], machine.road.timeout_s), error.retry_after_s))

    # ---- seats ------------------------------------------------------------------------------

    async def _seat(self, wish: Wish) -> Machine:
        if self._is_closed:
            raise _closed()
        order = _Order(wish, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._dispatch()
        try:
            return await order.seat
        except asyncio.CancelledError:
            if order.seat.done() and not order.seat.cancelled() and not order.seat.exception():
                order.seat.result().load.in_flight -= 1  # given, and nobody is there to take it
                self._dispatch()
            raise
        finally:
            if order in self._orders:
                self._orders.remove(order)

    def _dispatch(self) -> None:
        self._orders = [order for order in self._orders if not order.seat.done()]
        for order in self._orders:
            self._check(order)
        waiting = {order.wish: order for order in self._orders if not order.seat.done()}
        machines = {machine.load: machine for machine in self.machines}
        while pair := next_pair(list(waiting), list(machines)):
            wish, load = pair
            load.in_flight += 1
            waiting.pop(wish).seat.set_result(machines[load])
        self._orders = list(waiting.values())

    def _check(self, order: _Order) -> None:
        """Tell a job that no machine is left for it."""
        alive = [machine for machine in self.machines if machine.load.is_alive]
        if not alive:
            order.seat.set_exception(_none_left(self.machines))
            return
        misfits = [error for m in alive if (error := misfit(order.wish, m.load)) is not None]
        if len(misfits) == len(alive):
            order.seat.set_exception(misfits[0])

    # ---- life and death ---------------------------------------------------------------------

    def _bury(self, machine: Machine, error: CimError) -> None:
        """Take a machine out of service, and its jobs from it."""
        if not machine.load.is_alive or self._is_closed:
            return
        machine.load.is_alive, machine.error = False, error
        for attempt in machine.attempts:
            attempt.cancel()
        self._spawn(machine.session.drop())
        if machine.server is None and machine.road.is_endpoint:
            self._spawn(self._revive(machine))
        self._dispatch()

    async def _revive(self, machine: Machine) -> None:
        """Try to reach a machine that was lost, and put it in service again."""
        pause_s = FIRST_CALL_S
        while not self._is_closed:
            await asyncio.sleep(pause_s)
            session = AsyncSession(machine.road)
            try:
                await session.open()
            except CimError:
                await session.drop()
                pause_s = min(2 * pause_s, LONGEST_CALL_S)
                continue
            machine.session = session
            machine.load = Load(session.capabilities, self._slots)
            self._dispatch()
            return

    async def _look_after(self, machine: Machine) -> None:
        while not self._is_closed:
            await asyncio.sleep(LOOK_S)
            if machine.load.is_alive:
                await self._look(machine)

    async def _look(self, machine: Machine) -> None:
        """Ask whether a machine may be used; where it may not its jobs go to the others."""
        load = machine.load
        try:
            blocked = obstacle(await machine.session.status(), machine.road.epoch)
        except CimError as error:
            if isinstance(error, TransportError) and error.retryable:
                self._bury(machine, error)
            return  # an older server does not tell
        if blocked == load.blocked:
            return
        load.blocked = blocked
        if any(other.load.is_in_service for other in self.machines):
            for attempt in machine.attempts if blocked else ():
                attempt.cancel()
        self._dispatch()

    async def _watch(self) -> None:
        """Notice at once when a process of our own is gone."""
        while True:
            await asyncio.sleep(WATCH_S)
            for machine in self.machines:
                server = machine.server
                if server is not None and server.process.poll() is not None:
                    self._bury(machine, _lost(machine))

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
