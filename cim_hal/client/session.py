"""A conversation with a machine, wherever it is: models in, samples out."""

from __future__ import annotations

import secrets
import weakref
from typing import TYPE_CHECKING, Self, TypeVar

from cim_hal.client.control import Control
from cim_hal.client.conversation import Conversation, Loaded, SampleOptions
from cim_hal.client.instruments import Instruments
from cim_hal.client.job import Job
from cim_hal.client.lease import Lease
from cim_hal.client.options import TIMEOUT_S, ConnectionOptions, epoch_from_environment
from cim_hal.client.requests import RequestClient
from cim_hal.client.retries import Retries
from cim_hal.client.runner import Runner

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from cim_hal.client.steps import Steps
    from cim_hal.client.transport.base import Transport
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.model.trace import TraceRequest
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import (
        Description,
        HeldCouplings,
        JobInfo,
        LockState,
        MetricsReport,
        SafetyState,
        StatusReport,
    )
    from cim_hal.protocol.wire.messages.instruments import (
        CalibrationEntry,
        CalibrationRecord,
        DeviceStatus,
        History,
    )
    from cim_hal.protocol.wire.version import Version

__all__ = ["Loaded", "Session", "open_device"]

T = TypeVar("T")


def open_device(
    target: str | Driver | Transport,
    *,
    timeout_s: float = TIMEOUT_S,
    key: str | os.PathLike[str] | None = None,
    server_key: str | os.PathLike[str] | None = None,
    retries: Retries | None = None,
    epoch: int | None = None,
) -> Session:
    """Open a session with a machine.

    Parameters
    ----------
    target : str, Driver or Transport
        ``tcp://host:port`` or ``ipc://path`` of a server; the name of an installed driver or
        ``module:factory``, to run it in this process; a driver, or a transport. The session
        closes what it is given.
    timeout_s : float
        How long to wait for a connection, and for each answer of the server, repetitions
        included; what a call inherits that is given no `timeout_s` of its own.
    key : path, optional
        Secret key file of this client, for a server that asks for keys. Endpoints that were
        trusted with ``cim-hal keys trust`` need neither this nor the next. Both are for endpoints
        and mean nothing to other targets.
    server_key : path or str, optional
        Public key of the server: its ``.pub`` file, or the key itself.
    retries : Retries, optional
        How soon a request that failed is sent again.
    epoch : int, optional
        Of a lock that stands, which ``cim-hal lock`` prints, to work under it; the variable
        ``CIM_HAL_EPOCH`` where it is None.

    Raises
    ------
    TargetError
        No device goes by that name.
    ConnectError
        Nobody answers at the endpoint within `timeout_s`.
    AuthenticationError
        The server does not let this client in, or is another one than the key says.
    KeyFileError
        A key file is missing, malformed, or open to others.
    VersionError
        The server speaks no protocol version in common.
    DriverFaultError
        The driver does not describe itself.

    Examples
    --------
    >>> from cim_hal import IsingModel, open_device
    >>> with open_device("emulator") as device:  # doctest: +SKIP
    ...     samples = device.sample(IsingModel.from_couplings([[0, 1], [1, 0]]), n_runs=10)
    """
    epoch = epoch_from_environment() if epoch is None else epoch
    session = Session(
        ConnectionOptions(target, timeout_s, key, server_key, retries or Retries(), epoch)
    )
    try:
        return session.open()
    except BaseException:
        session.close()
        raise


class Session:
    """A conversation with a machine; a context manager. Any thread may use it.

    Made by `open_device`. A session that is forgotten is closed when it is collected. It pickles
    as its address, the paths of its keys, its time and its retries, and connects anew, at its
    first use, where it arrives. After a fork it belongs to the parent: every call in the child is
    a `LocalProtocolError`.

    Every call ends within its `timeout_s`, or is an error then. Without one, a call that only asks
    has that of the session; one that waits for the machine (`load`, `sample`, `Job.result`) goes
    on for as long as the server answers in that time.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._runner = Runner(options.open)
        dialogue = RequestClient(timeout_s=options.timeout_s, retries=options.retries)
        self._conversation = Conversation(dialogue)
        self._instruments = Instruments(dialogue)
        self._control = Control(dialogue)
        dialogue.epoch = options.epoch
        self._end = weakref.finalize(self, _end, self._runner, dialogue)

    @property
    def capabilities(self) -> Capabilities:
        """What the machine can do."""
        self._runner.check_process()
        welcome = self._conversation.dialogue.welcome
        return (welcome or self.run(self._conversation.dialogue.hello())).capabilities

    def open(self) -> Self:
        """Connect now and not at the first use; `open_device` has done it."""
        self.run(self._conversation.dialogue.hello())
        return self

    def ping(self, *, timeout_s: float | None = None) -> None:
        """Ask the server for a sign of life."""
        self.run(self._conversation.ping(timeout_s))

    @property
    def protocol(self) -> Version:
        """The version of the protocol that both sides speak, (major, minor)."""
        welcome = self._conversation.dialogue.welcome
        return (welcome or self.run(self._conversation.dialogue.hello())).protocol

    def describe(self, *, timeout_s: float | None = None) -> Description:
        """Ask what the machine is and how busy it is."""
        return self.run(self._conversation.describe(timeout_s))

    def status(self, *, timeout_s: float | None = None) -> StatusReport:
        """Ask what goes on: the job on the machine, the queue, sessions, what ended lately.

        Raises
        ------
        VersionError
            The server speaks a protocol before 1.2.
        """
        return self.run(self._conversation.status(timeout_s))

    def couplings(self, *, timeout_s: float | None = None) -> tuple[HeldCouplings, ...]:
        """Ask what couplings the server holds, the most recently used first.

        Raises
        ------
        VersionError
            The server speaks a protocol before 1.2.
        """
        return self.run(self._conversation.couplings(timeout_s))

    def drop_couplings(self, digest: str, *, timeout_s: float | None = None) -> int:
        """Let the server forget couplings and all it made of them; return the bytes freed.

        Raises
        ------
        UnknownReferenceError
            The server does not hold them.
        InUseError
            Jobs need them.
        PermissionDeniedError
            Others loaded them too, and the role is below operator.
        """
        return self.run(self._conversation.drop_couplings(digest, timeout_s))

    def metrics(self, *, timeout_s: float | None = None) -> MetricsReport:
        """Ask what the server has counted since it started; names as in the manual.

        Raises
        ------
        VersionError
            The server speaks a protocol before 1.2.

        Examples
        --------
        >>> from cim_hal import open_device
        >>> with open_device("emulator") as device:
        ...     device.metrics().value("jobs_total", end="done")
        0.0
        """
        return self.run(self._conversation.metrics(timeout_s))

    def load(
        self,
        model: IsingModel,
        *,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Loaded:
        """Bring a model to the machine ahead of sampling; `submit` does it where needed.

        Parameters
        ----------
        coupling_bits : int, optional
            Bits of a coupling, at most those of the machine, which are the default.
        gauge_seed : int, optional
            Seed of a random gauge; none without it.
        timeout_s : float, optional
            For all of it.

        Raises
        ------
        CapabilityError
            The model does not fit the machine. Where its size tells, nothing was sent.
        """
        return self.run(
            self._conversation.load(
                model, coupling_bits=coupling_bits, gauge_seed=gauge_seed, timeout_s=timeout_s
            )
        )

    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        n_runs: int = 1,
        seed: int | None = None,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
        settings: Mapping[str, float] | None = None,
        trace: TraceRequest | None = None,
        priority: int = 0,
        key: str | None = None,
        keep: bool = True,
        timeout_s: float | None = None,
    ) -> Job:
        """Queue a job and return at once.

        Parameters
        ----------
        model : IsingModel
        schedule : PumpSchedule, optional
            The one the machine recommends where it is None.
        n_runs : int
            Independent runs from vacuum to readout.
        seed : int, optional
            0 to 2^63 - 1. Drawn from the operating system, and recorded, where it is None.
        coupling_bits, gauge_seed
            See `load`.
        settings : mapping of str to float, optional
            RunSettings of ``capabilities.settings`` to turn, for this job only.
        trace : TraceRequest, optional
            Amplitudes to keep while the first runs of the job run; 64 MiB of them at most.
        priority : int
            −9 to 9. The job goes before those of the same user that have a lower one.
        key : str, optional
            What makes this submission this one: 32 hexadecimal digits, a new one where it is None.
            After a `TransportError` submit again with the same key, `seed` and all, from
            any process: it is the same job, and runs once.
        keep : bool
            Whether the job outlives this session; without, it is cancelled and its result dropped
            when the session ends. `sample` does not keep its job.
        timeout_s : float, optional
            For the job to be queued, its upload included.

        Raises
        ------
        CapabilityError
            The model, the schedule, `n_runs`, a setting or the trace is more than the machine
            has. Of the last two nothing was sent.
        QueueFullError
            Too many jobs wait.
        ConflictError
            The key was used before, for another request.
        ModelError
            A value that is malformed for any machine.
        """
        options = SampleOptions(
            n_runs=n_runs,
            seed=seed,
            coupling_bits=coupling_bits,
            gauge_seed=gauge_seed,
            settings=settings,
            trace=trace,
            priority=priority,
            key=key,
            keep=keep,
        )
        steps = self._conversation.submit(model, schedule, options, timeout_s)
        return Job(self, self.run(steps))

    def sample(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        n_runs: int = 1,
        seed: int | None = None,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
        settings: Mapping[str, float] | None = None,
        trace: TraceRequest | None = None,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> SampleSet:
        """Submit a job and wait for its samples; see `submit` and `Job.result`.

        With a `timeout_s` all of it ends then, and a job that is not done is cancelled.
        """
        until = self._conversation.dialogue.until(timeout_s)
        job = self.submit(
            model,
            schedule,
            n_runs=n_runs,
            seed=seed,
            coupling_bits=coupling_bits,
            gauge_seed=gauge_seed,
            settings=settings,
            trace=trace,
            priority=priority,
            keep=False,
            timeout_s=timeout_s,
        )
        left_s = None if timeout_s is None else self._conversation.dialogue.left(until)
        return job.result_or_cancel(left_s)

    def job(
        self, job_id: str, model: IsingModel | None = None, *, timeout_s: float | None = None
    ) -> Job:
        """Find a job again, by its id: one of this user, from any session and process.

        Parameters
        ----------
        job_id : str
        model : IsingModel, optional
            The model that was submitted. `Job.result` needs it, for the energies.

        Raises
        ------
        UnknownReferenceError
            There is no such job, or not any more.
        ModelError
            The job is of another model.
        VersionError
            The server speaks a protocol before 1.2.
        """
        return Job(self, self.run(self._conversation.job(job_id, model, timeout_s)))

    def jobs(self, *states: str, timeout_s: float | None = None) -> tuple[JobInfo, ...]:
        """List the jobs of this user that still have something to fetch, the oldest first.

        Parameters
        ----------
        *states : str
            Only jobs that are ``queued``, ``running``, ``stopping``, ``done``, ``failed`` or
            ``cancelled``.
        """
        return self.run(self._conversation.jobs(states, timeout_s))

    def cancel(self, job_id: str, *, timeout_s: float | None = None) -> JobState:
        """End a job early, by its id; that of another session needs the role operator.

        Returns
        -------
        JobState
            Where the job is now; too late is no mistake.

        Raises
        ------
        UnknownReferenceError
            There is no such job, or it is another session's and not for this user to cancel.
        """
        return self.run(self._conversation.cancel(job_id, timeout_s))

    def telemetry(self, *, timeout_s: float | None = None) -> DeviceStatus:
        """Ask how the machine and its driver are: the newest telemetry, the calibration.

        This and the next four raise `VersionError` where the server speaks a protocol before 1.2.
        """
        return self.run(self._instruments.device(timeout_s))

    def history(self, *, after: int = 0, timeout_s: float | None = None) -> History:
        """Ask for the telemetry that the server kept, the oldest first.

        Parameters
        ----------
        after : int
            Only what has a larger number; ``history.newest`` of the last call, to go on.
        """
        return self.run(self._instruments.history(after, timeout_s))

    def calibration(
        self, fingerprint: str | None = None, *, timeout_s: float | None = None
    ) -> CalibrationRecord:
        """Ask for a calibration, for instance the one that a record names.

        Parameters
        ----------
        fingerprint : str, optional
            The current calibration where it is None.

        Raises
        ------
        UnknownReferenceError
            There is none.
        """
        return self.run(self._instruments.calibration(fingerprint, timeout_s))

    def calibrations(self, *, timeout_s: float | None = None) -> tuple[CalibrationEntry, ...]:
        """List the calibrations that the server knows, the newest first."""
        return self.run(self._instruments.calibrations(timeout_s))

    def calibrate(self, *, timeout_s: float | None = None) -> CalibrationRecord:
        """Calibrate the machine when it is free; needs the role operator.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait; as long as it takes by default. After it the calibration is
            cancelled.

        Raises
        ------
        CapabilityError
            The machine cannot be calibrated.
        JobTimeoutError
            It was not done in time.
        DeviceError
            It failed.
        """
        key = secrets.token_hex(16)
        try:
            return self.run(self._instruments.calibrate(key, timeout_s))
        except KeyboardInterrupt:
            self.run(self._instruments.cancel(key))
            raise

    def lock(
        self,
        *,
        note: str = "",
        for_s: float | None = None,
        stands: bool = False,
        wait_s: float = 0.0,
    ) -> Lease:
        """Have the machine alone, until the lease is released; use it in a ``with`` statement.

        Jobs of other sessions wait meanwhile; one that runs is not interrupted.

        Parameters
        ----------
        note : str
            Why, for those who wait; at most 200 characters.
        for_s : float, optional
            After so many seconds it is over in any case.
        stands : bool
            It lasts for `for_s` also when this session ends, and serves any session of the user
            that is opened with its epoch.
        wait_s : float
            How long to wait where another has the machine.

        Raises
        ------
        LeaseHeldError
            Another has it: ``details`` says who, why and for how long.
        """
        steps = self._control.lock(note=note, for_s=for_s, stands=stands, wait_s=wait_s)
        return Lease(self.run(steps), self._control, self._runner)

    def lock_info(self) -> LockState:
        """Ask who has the machine."""
        return self.run(self._control.info())

    def break_lock(self, epoch: int) -> LockState:
        """End a lock, by its epoch: one of the same user, or anybody's with the role admin.

        Raises
        ------
        LeaseLostError
            It is over, and another has the machine.
        PermissionDeniedError
            It is another user's.
        """
        return self.run(self._control.break_lock(epoch))

    def estop(self, reason: str = "") -> SafetyState:
        """Stop the machine, whoever uses it: an emergency stop; needs the role operator.

        The job that runs ends with `EmergencyStopError`, all outputs go off, and nothing starts
        until `reset`.
        """
        return self.run(self._control.stop(reason))

    def safety(self) -> SafetyState:
        """Ask whether the machine is stopped, by whom and why."""
        return self.run(self._control.safety())

    def reset(self, stop: int) -> SafetyState:
        """End an emergency stop, by its number; needs the role operator.

        Raises
        ------
        ConflictError
            The machine was stopped again since.
        """
        return self.run(self._control.reset(stop))

    def close(self) -> None:
        """End the session; jobs that still run are cancelled. Twice is no mistake.

        In a child that inherited the session by a fork it does nothing.
        """
        self._end()

    def run(self, steps: Steps[T]) -> T:
        """Do the steps of a conversation, in this thread."""
        return self._runner.run(steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return Session, (self._options,)


def _end(runner: Runner, dialogue: RequestClient) -> None:
    """Say goodbye where that is possible, and let go of the server."""
    try:
        if runner.is_usable:
            runner.run(dialogue.bye())
    finally:
        runner.close()
