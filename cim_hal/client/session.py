"""A conversation with a machine, wherever it is: models in, samples out."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cim_hal.client.access import keys_for
from cim_hal.client.connection import Connection
from cim_hal.client.couplings import Uploader
from cim_hal.client.instruments import Instruments
from cim_hal.client.job import Job
from cim_hal.client.requests import cancel_request, coupling_ref, sample_request
from cim_hal.client.transport.base import Transport
from cim_hal.client.transport.local import LocalTransport
from cim_hal.errors import TargetError, UnknownReferenceError
from cim_hal.machine.driver import Driver
from cim_hal.machine.registry import make_driver
from cim_hal.protocol.messages import (
    AskMetrics,
    AskStatus,
    CouplingRef,
    Describe,
    Description,
    JobStatus,
    MetricsReport,
    Sample,
    StatusReport,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import LoweringReport
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.model.trace import TraceRequest
    from cim_hal.protocol.instrumentation import (
        CalibrationEntry,
        CalibrationRecord,
        DeviceStatus,
        History,
    )
    from cim_hal.protocol.state import JobState

__all__ = ["Loaded", "Session", "open_device"]

TIMEOUT_S = 5.0


def open_device(
    target: str | Driver | Transport,
    *,
    timeout_s: float = TIMEOUT_S,
    key: str | os.PathLike[str] | None = None,
    server_key: str | os.PathLike[str] | None = None,
) -> Session:
    """Open a session with a machine.

    Parameters
    ----------
    target : str, Driver or Transport
        ``tcp://host:port`` or ``ipc://path`` of a server; the name of an installed driver or
        ``module:factory``, to run it in this process; a driver, or a transport. The session
        closes what it is given.
    timeout_s : float
        How long to wait for a connection, and for each answer of the server.
    key : path, optional
        Secret key file of this client, for a server that asks for keys. Endpoints that were
        trusted with ``cim-hal keys trust`` need neither this nor the next. Both are for endpoints
        and mean nothing to other targets.
    server_key : path or str, optional
        Public key of the server: its ``.pub`` file, or the key itself.

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
    transport = _transport(target, timeout_s, key, server_key)
    try:
        return Session(transport, timeout_s=timeout_s)
    except BaseException:
        transport.close()
        raise


@dataclass(frozen=True)
class Loaded:
    """Couplings on a machine.

    Attributes
    ----------
    reference : CouplingRef
        Content digest, bits and gauge.
    report : LoweringReport
        How they were fitted to the machine.
    """

    reference: CouplingRef
    report: LoweringReport


class Session:
    """A conversation with a machine; a context manager. Any thread may use it.

    Made by `open_device`. A session that is forgotten closes its transport when it is collected.
    """

    def __init__(self, transport: Transport, *, timeout_s: float = TIMEOUT_S) -> None:
        self._connection = Connection(transport, timeout_s=timeout_s)
        self._uploader = Uploader(self._connection)
        self._instruments = Instruments(self._connection)
        self._close_transport = weakref.finalize(self, transport.close)

    @property
    def capabilities(self) -> Capabilities:
        """What the machine can do."""
        return self._connection.welcome.capabilities

    def describe(self) -> Description:
        """Ask what the machine is and how busy it is."""
        return self._connection.ask(Describe(), Description)

    def status(self) -> StatusReport:
        """Ask what goes on: the job on the machine, the queue, sessions, what ended lately.

        Raises
        ------
        VersionError
            The server speaks a protocol before 1.2.
        """
        self._connection.need((1, 2), "status")
        return self._connection.ask(AskStatus(), StatusReport)

    def metrics(self) -> MetricsReport:
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
        self._connection.need((1, 2), "metrics")
        return self._connection.ask(AskMetrics(), MetricsReport)

    def load(
        self,
        model: IsingModel,
        *,
        coupling_bits: int | None = None,
        gauge_seed: int | None = None,
    ) -> Loaded:
        """Bring a model to the machine ahead of sampling; `submit` does it where needed.

        Parameters
        ----------
        coupling_bits : int, optional
            Bits of a coupling, at most those of the machine, which are the default.
        gauge_seed : int, optional
            Seed of a random gauge; none without it.

        Raises
        ------
        CapabilityError
            The model does not fit the machine. Where its size tells, nothing was sent.
        """
        ref = self._reference(model, coupling_bits, gauge_seed)
        return Loaded(ref, self._uploader.load(model, ref).report)

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
            Knobs of ``capabilities.settings`` to turn, for this job only.
        trace : TraceRequest, optional
            Amplitudes to keep while the first runs of the job run; 64 MiB of them at most.
        priority : int
            −9 to 9. The job goes before those of the same user that have a lower one.

        Raises
        ------
        CapabilityError
            The model, the schedule, `n_runs`, a setting or the trace is more than the machine
            has. Of the last two nothing was sent.
        QueueFullError
            Too many jobs wait.
        ModelError
            A value that is malformed for any machine.
        """
        request = sample_request(
            self._reference(model, coupling_bits, gauge_seed),
            schedule,
            n_runs=n_runs,
            seed=seed,
            settings=settings or {},
            trace=trace,
            priority=priority,
        )
        self.capabilities.check_settings(request.settings)
        if trace is not None:
            round_trips = (schedule or self.capabilities.default_schedule).round_trips
            self.capabilities.check_trace(
                trace, round_trips=round_trips, n_runs=request.n_runs, n_spins=model.n_spins
            )
        status = self._queue(model, request)
        return Job(self._connection, model, status, has_trace=trace is not None)

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
    ) -> SampleSet:
        """Submit a job and wait for its samples; see `submit` and `Job.result`."""
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
        )
        return job.result()

    def cancel(self, job_id: str) -> JobState:
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
        return self._connection.ask(cancel_request(job_id), JobStatus).state

    def telemetry(self) -> DeviceStatus:
        """Ask how the machine and its driver are: the newest telemetry, the calibration.

        This and the next four raise `VersionError` where the server speaks a protocol before 1.2.
        """
        return self._instruments.device()

    def history(self, *, after: int = 0) -> History:
        """Ask for the telemetry that the server kept, the oldest first.

        Parameters
        ----------
        after : int
            Only what has a larger number; ``history.newest`` of the last call, to go on.
        """
        return self._instruments.history(after)

    def calibration(self, fingerprint: str | None = None) -> CalibrationRecord:
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
        return self._instruments.calibration(fingerprint)

    def calibrations(self) -> tuple[CalibrationEntry, ...]:
        """List the calibrations that the server knows, the newest first."""
        return self._instruments.calibrations()

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
        return self._instruments.calibrate(timeout_s)

    def close(self) -> None:
        """End the session; jobs that still run are cancelled. Twice is no mistake."""
        if self._close_transport.alive:
            self._connection.bye()
            self._close_transport()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _queue(self, model: IsingModel, request: Sample) -> JobStatus:
        """Send the request; load the model first only where the server asks for it."""
        try:
            return self._connection.ask(request, JobStatus)
        except UnknownReferenceError as error:
            if error.details.get("kind") != "coupling":
                raise
        self._uploader.load(model, request.coupling)
        return self._connection.ask(request, JobStatus)

    def _reference(
        self, model: IsingModel, bits: int | None, gauge_seed: int | None
    ) -> CouplingRef:
        return coupling_ref(self._uploader.digest(model), bits=bits, gauge_seed=gauge_seed)


def _transport(
    target: str | Driver | Transport,
    timeout_s: float,
    key: str | os.PathLike[str] | None,
    server_key: str | os.PathLike[str] | None,
) -> Transport:
    if isinstance(target, Driver):
        return LocalTransport(target)
    if isinstance(target, Transport):
        return target
    if not isinstance(target, str):
        raise TargetError(
            f"a {type(target).__name__} is not a device",
            hint="pass a name, an endpoint such as tcp://host:port, a Driver or a Transport",
        )
    if target.startswith(("tcp://", "ipc://")):
        from cim_hal.client.transport.zmq import ZmqTransport  # zmq takes its time to import

        keys = keys_for(target, key, server_key)
        return ZmqTransport(target, connect_timeout_s=timeout_s, keys=keys)
    return LocalTransport(make_driver(target))
