"""Sessions, jobs and leases of an event loop: each method runs the blocking one in a thread.

The threads belong to the session, one for each call that is under way, and share its one
connection. A task that is cancelled interrupts its thread (`cim_hal.client.interrupts`).
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial, wraps
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from cim_hal.client.interrupts import Interrupt, observing
from cim_hal.client.job import Job
from cim_hal.client.session import Session, connection_options, open_transport
from cim_hal.client.transport.base import closed_error
from cim_hal.errors import LocalProtocolError, TargetError
from cim_hal.model.conversion import with_article

if TYPE_CHECKING:
    from typing import Unpack

    from cim_hal.client.lease import Lease
    from cim_hal.client.options import ConnectionKeywords, ConnectionOptions, Target
    from cim_hal.client.transport.base import Transport
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import Progress

__all__ = ["AsyncJob", "AsyncLease", "AsyncSession", "open_device_async"]

CANCEL_S = 2.0  # that a closing session waits for calls that were cancelled
END_S = 5.0  # and for its threads, which have nothing to wait for any more
IDLE_S = 5.0  # a thread that had nothing to do for so long ends

T = TypeVar("T")
P = ParamSpec("P")


class _Workers:
    """Runs each call in a thread at once; a thread that is idle takes the next call.

    Unlike those of `concurrent.futures` the threads are daemons: a process whose calls still wait
    can end. `submit` belongs to one thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call`, which raises nothing, in a thread."""
        self._calls.put(call)
        if self._idle.acquire(blocking=False):
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(
            target=_work, args=(self._calls, self._idle), name=self._name, daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def close(self, timeout_s: float) -> None:
        """Wait for the calls that run, and end all threads; for another thread to call.

        A thread whose call has not ended after `timeout_s` ends with its call.
        """
        for _ in self._threads:
            self._calls.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.0))


def _work(calls: SimpleQueue[Callable[[], None] | None], idle: threading.Semaphore) -> None:
    """Run calls until None comes, or none for `IDLE_S`; knows the queue, not the owner."""
    while True:
        try:
            call = calls.get(timeout=IDLE_S)
        except Empty:
            if idle.acquire(blocking=False):
                return
            continue  # a call is on its way to this thread
        if call is None:
            return
        call()
        del call  # else it keeps what it refers to until the next
        idle.release()


class _Calls:
    """The calls of one session: of one event loop, each in a thread of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.runner = session._runner  # noqa: SLF001  two faces of one session
        self._workers = _Workers("cim-hal call")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancelled: list[threading.Event] = []
        self._is_closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns in a thread; cancelling it interrupts the thread."""
        loop = self._bind()
        future: asyncio.Future[T] = loop.create_future()
        interrupt, is_over = Interrupt(), threading.Event()

        def work() -> None:
            try:
                with observing(interrupt):
                    interrupt.check()
                    settle = partial(_settle, future.set_result, future, call())
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the caller's
                settle = partial(_settle, future.set_exception, future, error)
            is_over.set()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)

        self._workers.submit(work)
        try:
            return await future
        finally:
            if not is_over.is_set():  # cancelled
                interrupt.set()
                self._cancelled = [event for event in self._cancelled if not event.is_set()]
                self._cancelled.append(is_over)

    async def close(self, *, says_goodbye: bool) -> None:
        """End the session and its threads."""
        self._is_closed = True
        loop, is_over = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            try:
                self.end(says_goodbye=says_goodbye)
            finally:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(is_over.set)

        # Not one of the workers, which it ends.
        thread = threading.Thread(target=work, name="cim-hal closing", daemon=True)
        thread.start()
        await is_over.wait()
        thread.join()  # its last statement was to say so

    def end(self, *, says_goodbye: bool) -> None:
        """End the session and its threads, once cancelled calls have cancelled their jobs.

        They have `CANCEL_S` for it; the server cancels the jobs of those that are slower, unless
        they were to be kept.
        """
        try:
            if says_goodbye:
                deadline = time.monotonic() + CANCEL_S
                for is_over in self._cancelled:
                    is_over.wait(max(deadline - time.monotonic(), 0.0))
                self._session.close()
            else:
                self.runner.close()
        finally:
            self._workers.close(END_S)

    def abandon(self) -> None:
        """End the session of a face that was collected, without waiting for it."""
        threading.Thread(
            target=partial(self.end, says_goodbye=True), name="cim-hal closing", daemon=True
        ).start()

    def _bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, the only one that may use the session."""
        self.runner.check_process()
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise LocalProtocolError(
                "the session belongs to another event loop", hint="open one in each loop"
            )
        if self._is_closed:
            raise closed_error()
        self._loop = loop
        return loop


def _settle(set_outcome: Callable[[Any], None], future: asyncio.Future[Any], outcome: Any) -> None:
    if not future.done():
        set_outcome(outcome)


class _Face:
    """Base of what stands for a blocking object in an event loop."""

    _calls: _Calls
    _blocking: Any


def forwarded(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[_Face, P], Coroutine[Any, Any, T]]:
    """Return a coroutine method with the parameters, the result and the docstring of `method`."""

    @wraps(method)
    async def call(self: _Face, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._calls.run(partial(method, self._blocking, *args, **kwargs))

    return call


def _returning_job(
    method: Callable[Concatenate[Any, P], Job],
) -> Callable[Concatenate[_Face, P], Coroutine[Any, Any, AsyncJob]]:
    @wraps(method)
    async def call(self: _Face, *args: P.args, **kwargs: P.kwargs) -> AsyncJob:
        job = await self._calls.run(partial(method, self._blocking, *args, **kwargs))
        return AsyncJob(job, self._calls)

    return call


def _returning_lease(
    method: Callable[Concatenate[Any, P], Lease],
) -> Callable[Concatenate[_Face, P], AsyncLease]:
    @wraps(method)
    def call(self: _Face, *args: P.args, **kwargs: P.kwargs) -> AsyncLease:
        return AsyncLease(partial(method, self._blocking, *args, **kwargs), self._calls)

    return call


def _iterated(
    method: Callable[Concatenate[Any, P], Iterator[T]],
) -> Callable[Concatenate[_Face, P], AsyncIterator[T]]:
    """Return a method that yields what the iterator of `method` does, each item from a thread."""

    @wraps(method)
    async def iterate(self: _Face, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        items: Any = method(self._blocking, *args, **kwargs)
        turn = threading.Lock()  # a call that was cancelled may still be about to end

        def advance() -> tuple[T] | None:
            with turn:
                return next(((item,) for item in items), None)

        def end() -> None:
            with turn:
                items.close()

        try:
            while (item := await self._calls.run(advance)) is not None:
                yield item[0]
        finally:
            threading.Thread(target=end, name="cim-hal closing", daemon=True).start()

    return iterate


class AsyncJob(_Face):
    """One submission; made by `AsyncSession.submit`. Methods as of `Job`.

    A task that waits for it may be cancelled: the job goes on, and can be waited for again.

    Attributes
    ----------
    id : str
        Identifier on the server.
    """

    def __init__(self, job: Job, calls: _Calls) -> None:
        self.id = job.id
        self._blocking = job
        self._calls = calls

    async def state(self) -> JobState:
        """Ask where the job is now, unless it has ended."""
        return await self._calls.run(lambda: self._blocking.state)

    async def progress(self) -> Progress | None:
        """Ask how far the job is; see `Job.progress`."""
        return await self._calls.run(lambda: self._blocking.progress)

    changes = _iterated(Job.changes)
    batches = _iterated(Job.batches)
    wait = forwarded(Job.wait)
    result = forwarded(Job.result)
    acknowledge = forwarded(Job.acknowledge)
    cancel = forwarded(Job.cancel)


class AsyncLease:
    """The lock of a machine; an async context manager that acquires it and releases it.

    Made by `AsyncSession.lock`; see `Lease`.
    """

    def __init__(self, acquire: Callable[[], Lease], calls: _Calls) -> None:
        self._acquire = acquire
        self._calls = calls
        self._lease: Lease | None = None

    @property
    def epoch(self) -> int:
        """Number of the lock; 0 before it is acquired."""
        return 0 if self._lease is None else self._lease.epoch

    @property
    def is_lost(self) -> bool:
        """Whether the lock has ended without having been released, as far as is known."""
        return self._lease is not None and self._lease.is_lost

    async def __aenter__(self) -> Self:
        self._lease = await self._calls.run(self._acquire)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._lease is not None:
            await self._calls.run(self._lease.release)


class AsyncSession(_Face):
    """A session with a machine in an event loop; an async context manager.

    Made by `open_device_async`. Its methods have the parameters, results and errors of those of
    `Session`. Any number of tasks may use it at once, on one connection. Cancelling a task ends
    its own request only; a job that `sample` waits for, and a calibration, are cancelled with it.
    It pickles as `Session` does, and after a fork it belongs to the parent.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._blocking: Session = Session(options, _open_shared)
        self._calls = _Calls(self._blocking)
        self._abandon = weakref.finalize(self, self._calls.abandon)
        self._abandon.atexit = False  # the blocking session ends itself then

    @property
    def capabilities(self) -> Capabilities:
        """What the machine can do; known once the session is open.

        Raises
        ------
        LocalProtocolError
            The session was not opened yet.
        """
        self._calls.runner.check_process()
        welcome = self._blocking._client.welcome  # noqa: SLF001  two faces of one session
        if welcome is None:
            hint = "write async with open_device_async(...) as device, or await device.open()"
            raise LocalProtocolError("the session is not open yet", hint=hint)
        return welcome.capabilities

    async def open(self) -> Self:
        """Connect now and not at the first use; ``async with`` does it."""
        await self._calls.run(self._blocking.open)
        return self

    ping = forwarded(Session.ping)
    describe = forwarded(Session.describe)
    status = forwarded(Session.status)
    metrics = forwarded(Session.metrics)
    couplings = forwarded(Session.couplings)
    drop_couplings = forwarded(Session.drop_couplings)
    load = forwarded(Session.load)
    submit = _returning_job(Session.submit)
    sample = forwarded(Session.sample)
    job = _returning_job(Session.job)
    jobs = forwarded(Session.jobs)
    cancel = forwarded(Session.cancel)
    telemetry = forwarded(Session.telemetry)
    history = forwarded(Session.history)
    calibration = forwarded(Session.calibration)
    calibrations = forwarded(Session.calibrations)
    calibrate = forwarded(Session.calibrate)
    lock = _returning_lease(Session.lock)
    lock_info = forwarded(Session.lock_info)
    break_lock = forwarded(Session.break_lock)
    estop = forwarded(Session.estop)
    safety = forwarded(Session.safety)
    reset = forwarded(Session.reset)

    async def close(self) -> None:
        """End the session; its jobs that were not submitted to be kept are cancelled.

        Calls that wait raise `ClosedError`. Closing it again has no effect.
        """
        await self._close(says_goodbye=True)

    async def drop(self) -> None:
        """Disconnect without telling the server, which is gone."""
        await self._close(says_goodbye=False)

    async def _close(self, *, says_goodbye: bool) -> None:
        if self._calls.runner.is_forked:
            return
        await self._calls.close(says_goodbye=says_goodbye)
        self._abandon.detach()

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._options,)


def open_device_async(
    target: Target | None = None, **options: Unpack[ConnectionKeywords]
) -> AsyncSession:
    """Return a session with a machine, for ``async with``; parameters as of `open_device`.

    Examples
    --------
    >>> import asyncio
    >>> from cim_hal import IsingModel, open_device_async
    >>> async def main(model):
    ...     async with open_device_async("emulator") as device:
    ...         jobs = (device.sample(model, n_runs=4, seed=seed) for seed in range(3))
    ...         return await asyncio.gather(*jobs)
    >>> pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    >>> [samples.best_energy for samples in asyncio.run(main(pair))]
    [-1.0, -1.0, -1.0]
    """
    return AsyncSession(connection_options(target, options))


def _open_shared(options: ConnectionOptions) -> Transport:
    """Return a transport whose callers are woken when their tasks are cancelled."""
    transport = open_transport(options, shared=True)
    if not getattr(transport, "is_interruptible", False):
        raise TargetError(
            f"{with_article(type(transport).__name__)} does not work in an event loop",
            hint="pass a name, an endpoint such as tcp://host:port, or a Driver",
        )
    return transport
