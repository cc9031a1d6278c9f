"""A conversation with a machine for an event loop: many jobs at once on one connection."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from typing import TYPE_CHECKING, Self, TypeVar

from cim_hal.client.async_job import AsyncJob
from cim_hal.client.async_lease import AsyncLease
from cim_hal.client.async_runner import AsyncRunner
from cim_hal.client.control import Control
from cim_hal.client.conversation import Conversation, Loaded, SampleOptions
from cim_hal.client.instruments import Instruments
from cim_hal.client.options import TIMEOUT_S, ConnectionOptions, epoch_from_environment
from cim_hal.client.requests import RequestClient
from cim_hal.client.retries import Retries
from cim_hal.errors import CimError, LocalProtocolError

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from cim_hal.client.steps import Steps
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import (
        CalibrationRecord,
        Description,
        DeviceStatus,
        HeldCouplings,
        History,
        JobInfo,
        LockState,
        MetricsReport,
        SafetyState,
        StatusReport,
    )
    from cim_hal.protocol.wire.messages.instruments import CalibrationEntry

__all__ = ["AsyncSession", "open_device_async"]

T = TypeVar("T")


def open_device_async(
    target: str | Driver,
    *,
    timeout_s: float = TIMEOUT_S,
    key: str | os.PathLike[str] | None = None,
    server_key: str | os.PathLike[str] | None = None,
    retries: Retries | None = None,
    epoch: int | None = None,
) -> AsyncSession:
    """Return a session with a machine, for ``async with``; arguments as of `open_device`.

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
    epoch = epoch_from_environment() if epoch is None else epoch
    return AsyncSession(
        ConnectionOptions(target, timeout_s, key, server_key, retries or Retries(), epoch)
    )


class AsyncSession:
    """A conversation with a machine in an event loop; an async context manager.

    Made by `open_device_async`. Any number of tasks may use it at once, on one connection; a task
    that is cancelled touches no other's request. It pickles as `Session` does, and after a fork
    it belongs to the parent. Deadlines are those of `Session`.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._runner = AsyncRunner(options.open_async)
        dialogue = RequestClient(timeout_s=options.timeout_s, retries=options.retries)
        self._conversation = Conversation(dialogue)
        self._control = Control(dialogue)
        self._instruments = Instruments(dialogue)
        dialogue.epoch = options.epoch
        self._abandon = weakref.finalize(self, self._runner.abandon)
        self._abandon.atexit = False  # its loop has ended then, or is about to close it

    @property
    def capabilities(self) -> Capabilities:
        """What the machine can do; known once the session is open.

        Raises
        ------
        LocalProtocolError
            Nothing was asked of the machine yet.
        """
        self._runner.check_process()
        welcome = self._conversation.dialogue.welcome
        if welcome is None:
            hint = "write async with open_device_async(...) as device, or await device.open()"
            raise LocalProtocolError("the session is not open yet", hint=hint)
        return welcome.capabilities

    async def open(self) -> Self:
        """Connect now and not at the first use; ``async with`` does it."""
        await self.run(self._conversation.dialogue.hello())
        return self

    async def ping(self, *, timeout_s: float | None = None) -> None:
        """Ask the server for a sign of life."""
        await self.run(self._conversation.ping(timeout_s))

    async def describe(self, *, timeout_s: float | None = None) -> Description:
        """Ask what the machine is and how busy it is."""
        return await self.run(self._conversation.describe(timeout_s))

    async def status(self, *, timeout_s: float | None = None) -> StatusReport:
        """Ask what goes on; see `Session.status`."""
        return await self.run(self._conversation.status(timeout_s))

    async def couplings(self, *, timeout_s: float | None = None) -> tuple[HeldCouplings, ...]:
        """Ask what couplings the server holds; see `Session.couplings`."""
        return await self.run(self._conversation.couplings(timeout_s))

    async def drop_couplings(self, digest: str, *, timeout_s: float | None = None) -> int:
        """Let the server forget couplings; see `Session.drop_couplings`."""
        return await self.run(self._conversation.drop_couplings(digest, timeout_s))

    async def metrics(self, *, timeout_s: float | None = None) -> MetricsReport:
        """Ask what the server has counted; see `Session.metrics`."""
        return await self.run(self._conversation.metrics(timeout_s))

    async def load(
        self,
        model: IsingModel,
        *,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Loaded:
        """Bring a model to the machine ahead of sampling; see `Session.load`."""
        steps = self._conversation.load(
            model, coupling_bits=coupling_bits, gauge_seed=gauge_seed, timeout_s=timeout_s
        )
        return await self.run(steps)

    async def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleOptions],
    ) -> AsyncJob:
        """Queue a job; options and errors as of `Session.submit`."""
        steps = self._conversation.submit(model, schedule, options, timeout_s)
        return AsyncJob(self, await self.run(steps))

    async def sample(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleOptions],
    ) -> SampleSet:
        """Submit a job and wait for its samples; options and errors as of `Session.sample`.

        Where its task is cancelled the job is cancelled too: nobody could fetch it.
        """
        self._runner.check_process()
        dialogue = self._conversation.dialogue
        until = dialogue.until(timeout_s)
        options.setdefault("keep", False)
        submitting = self._runner.spawn(
            self.submit(model, schedule, timeout_s=timeout_s, **options)
        )
        try:
            job = await asyncio.shield(submitting)
            left_s = None if timeout_s is None else dialogue.left(until)
            return await job.result_or_cancel(left_s)
        except asyncio.CancelledError:
            self._runner.spawn(_cancelled(submitting))
            raise

    async def job(
        self, job_id: str, model: IsingModel | None = None, *, timeout_s: float | None = None
    ) -> AsyncJob:
        """Find a job again, by its id; see `Session.job`."""
        return AsyncJob(self, await self.run(self._conversation.job(job_id, model, timeout_s)))

    async def jobs(self, *states: str, timeout_s: float | None = None) -> tuple[JobInfo, ...]:
        """List the jobs of this user; see `Session.jobs`."""
        return await self.run(self._conversation.jobs(states, timeout_s))

    async def cancel(self, job_id: str, *, timeout_s: float | None = None) -> JobState:
        """End a job early, by its id; see `Session.cancel`."""
        return await self.run(self._conversation.cancel(job_id, timeout_s))

    async def telemetry(self, *, timeout_s: float | None = None) -> DeviceStatus:
        """Ask how the machine and its driver are; see `Session.telemetry`."""
        return await self.run(self._instruments.device(timeout_s))

    async def history(self, *, after: int = 0, timeout_s: float | None = None) -> History:
        """Ask for the telemetry that the server kept; see `Session.history`."""
        return await self.run(self._instruments.history(after, timeout_s))

    async def calibration(
        self, fingerprint: str | None = None, *, timeout_s: float | None = None
    ) -> CalibrationRecord:
        """Ask for a calibration, or the current one; see `Session.calibration`."""
        return await self.run(self._instruments.calibration(fingerprint, timeout_s))

    async def calibrations(self, *, timeout_s: float | None = None) -> tuple[CalibrationEntry, ...]:
        """List the calibrations that the server knows; see `Session.calibrations`."""
        return await self.run(self._instruments.calibrations(timeout_s))

    async def calibrate(self, *, timeout_s: float | None = None) -> CalibrationRecord:
        """Calibrate the machine; see `Session.calibrate`.

        Where its task is cancelled the calibration is cancelled too.
        """
        key = secrets.token_hex(16)
        try:
            return await self.run(self._instruments.calibrate(key, timeout_s))
        except asyncio.CancelledError:
            self._runner.spawn(self._give_up(key))
            raise

    async def _give_up(self, calibration: str) -> None:
        """Cancel a calibration, if somebody is there to be told."""
        try:
            await self.run(self._instruments.cancel(calibration))
        except CimError:
            return

    def lock(
        self,
        *,
        note: str = "",
        for_s: float | None = None,
        stands: bool = False,
        wait_s: float = 0.0,
    ) -> AsyncLease:
        """Have the machine alone within an ``async with`` statement; see `Session.lock`."""
        steps = self._control.lock(note=note, for_s=for_s, stands=stands, wait_s=wait_s)
        return AsyncLease(steps, self._control, self._runner)

    async def lock_info(self) -> LockState:
        """Ask who has the machine."""
        return await self.run(self._control.info())

    async def break_lock(self, epoch: int) -> LockState:
        """End a lock, by its epoch; see `Session.break_lock`."""
        return await self.run(self._control.break_lock(epoch))

    async def estop(self, reason: str = "") -> SafetyState:
        """Stop the machine, whoever uses it; see `Session.estop`."""
        return await self.run(self._control.stop(reason))

    async def safety(self) -> SafetyState:
        """Ask whether the machine is stopped, by whom and why."""
        return await self.run(self._control.safety())

    async def reset(self, stop: int) -> SafetyState:
        """End an emergency stop, by its number; see `Session.reset`."""
        return await self.run(self._control.reset(stop))

    async def close(self) -> None:
        """End the session; jobs that still run are cancelled. Twice is no mistake."""
        try:
            if self._runner.is_usable:
                await self._runner.settle()
                await self.run(self._conversation.dialogue.bye())
        finally:
            await self._runner.close()
            self._abandon.detach()

    async def drop(self) -> None:
        """Let go of the server without a goodbye: it is gone."""
        await self._runner.close()
        self._abandon.detach()

    async def run(self, steps: Steps[T]) -> T:
        """Do the steps of a conversation, in this task."""
        return await self._runner.run(steps)

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return AsyncSession, (self._options,)


async def _cancelled(submitting: asyncio.Task[AsyncJob]) -> None:
    """Cancel a job that may not be queued yet, if somebody is there to be told."""
    try:
        await (await submitting).cancel()
    except CimError:
        return
