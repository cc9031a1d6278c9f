"""A session with a machine, wherever it is: models in, samples out."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Self, Unpack

from cim_hal.client.instruments import InstrumentMethods
from cim_hal.client.interrupts import CallCancelledError, observing
from cim_hal.client.job import Job
from cim_hal.client.lease import LockMethods
from cim_hal.client.options import (
    ConnectionOptions,
    SampleOptions,
    check_job,
    checked,
    epoch_from_environment,
    sample_request,
)
from cim_hal.client.requests import RequestClient, Times
from cim_hal.client.runner import Runner, blocking
from cim_hal.client.transport.base import Transport
from cim_hal.client.uploads import CouplingMethods, Loaded, Uploader
from cim_hal.errors import ModelError, UnknownReferenceError
from cim_hal.machine.policies import Policy, lower_by
from cim_hal.model.conversion import require, require_each
from cim_hal.model.ising import check_model
from cim_hal.protocol.wire.messages import (
    AskMetrics,
    AskStatus,
    CancelJob,
    Describe,
    Description,
    JobList,
    JobStatus,
    ListJobs,
    MetricsReport,
    Ping,
    Pong,
    StatusReport,
    WaitJob,
)
from cim_hal.user_config import required_device

if TYPE_CHECKING:
    from cim_hal.client.options import ConnectionKeywords, SampleKeywords, Target
    from cim_hal.client.steps import Steps
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.policies import LoweredModel
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import JobInfo, Sample
    from cim_hal.protocol.wire.version import Version

__all__ = ["Loaded", "Session", "open_device", "open_transport"]


def open_device(target: Target | None = None, **options: Unpack[ConnectionKeywords]) -> Session:
    """Open a session with a machine.

    Parameters
    ----------
    target : str, path, MachineConfig, Driver or Transport
        ``tcp://host:port`` or ``ipc://path`` of a server; the name of an installed driver or
        ``module:factory``, to run it in this process; a machine file, which names one of these;
        a driver, or a transport. The session closes what it is given. Also a name of the user's
        file of defaults (``cim-hal config``), whose ``device`` it is if there is none.
    timeout_s : float
        How long to wait for a connection, and for each answer of the server, retries included;
        also the limit of a call that is given no `timeout_s` of its own. 5 by default.
    key : path, optional
        Secret key file of this client, for a server that asks for keys. Endpoints that were
        trusted with ``cim-hal keys trust`` need neither this nor the next. Both are for endpoints
        and are ignored for other targets.
    server_key : path or str, optional
        Public key of the server: its ``.pub`` file, or the key itself.
    retries : Retries, optional
        How soon a request that failed is sent again.
    epoch : int, optional
        Of a standing lock, which ``cim-hal lock`` prints, to work under it; by default the
        variable ``CIM_HAL_EPOCH``.
    options : mapping of str to str, int, float or bool, optional
        What the driver is built with, such as host and port; for a driver in this process.

    Raises
    ------
    TargetError
        No device goes by that name, its machine file is not right, or an option is not.
    ConnectError
        Nobody answers at the endpoint within `timeout_s`.
    AuthenticationError
        The server does not let this client in, or is another one than the key says.
    KeyFileError
        A key file is missing, malformed, or readable by others.
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
    session = Session(connection_options(target, options))
    try:
        return session.open()
    except BaseException:
        session.close()
        raise


def connection_options(target: Target | None, options: ConnectionKeywords) -> ConnectionOptions:
    """Return the options of a session, with the user's device and epoch if none are given."""
    if target is None:
        target = required_device()
    if options.get("epoch") is None:
        options["epoch"] = epoch_from_environment()
    return ConnectionOptions.of(target, options)


def open_transport(options: ConnectionOptions, *, shared: bool = False) -> Transport:
    """Return a transport to a target; an endpoint is connected at the first request.

    The module of the transport is imported here: a client of a server needs none of the server,
    and a machine in this process no ZeroMQ. Where it is `shared` many threads call at a time.

    Raises
    ------
    TargetError
        The target is no device.
    """
    if isinstance(options.target, Transport):
        return options.target
    remote = "shared" if shared else "zmq"
    name = remote if options.server else "local"
    return import_module(f"cim_hal.client.transport.{name}").open_target(options)


class Session(CouplingMethods, LockMethods, InstrumentMethods):
    """A session with a machine; a context manager. Any thread may use it.

    Made by `open_device`. A session that is no longer referenced is closed. A pickled session
    stores the target, key paths, timeout and retries, and connects again at its first use. After
    a fork the session belongs to the parent: every call in the child raises `LocalProtocolError`.

    Every call ends within its `timeout_s`, if need be with an error. Without one, a call that only
    asks the server has the `timeout_s` of the session; one that waits for the machine (`load`,
    `sample`, `Job.result`) goes on for as long as the server answers within that time.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        open_transport: Callable[[ConnectionOptions], Transport] = open_transport,
    ) -> None:
        require("options", options, ConnectionOptions, ModelError, hint="open_device makes them")
        self._options = options
        self._runner = Runner(partial(open_transport, options))
        self._client = RequestClient(timeout_s=options.timeout_s, retries=options.retries)
        self._client.epoch = options.epoch
        self._client.settings = options.server.settings if options.server else {}
        self._uploader = Uploader(self._client)
        self._end = weakref.finalize(self, _end, self._runner, self._client)

    @property
    def capabilities(self) -> Capabilities:
        """What the machine can do."""
        self._runner.check_process()
        return (self._client.welcome or self._run(self._client.hello())).capabilities

    @property
    def protocol(self) -> Version:
        """The version of the protocol that both sides speak, (major, minor)."""
        return (self._client.welcome or self._run(self._client.hello())).protocol

    def open(self) -> Self:
        """Connect now and not at the first use; `open_device` has done it."""
        self._run(self._client.hello())
        return self

    def close(self) -> None:
        """End the session; its jobs that were not submitted to be kept are cancelled.

        Closing it again has no effect, nor has it in a child that inherited the session by a fork.
        """
        self._end()

    # ---- questions to the server ----------------------------------------------------------------

    def ping(self, *, timeout_s: float | None = None) -> None:
        """Check that the server answers."""
        self._ask(Ping(), Pong, timeout_s)

    def describe(self, *, timeout_s: float | None = None) -> Description:
        """Ask what the machine is and how busy it is."""
        return self._client.configured(self._ask(Describe(), Description, timeout_s))

    def status(self, *, timeout_s: float | None = None) -> StatusReport:
        """Ask what goes on: the running job, the queue, the sessions, what ended lately."""
        return self._ask(AskStatus(), StatusReport, timeout_s)

    def metrics(self, *, timeout_s: float | None = None) -> MetricsReport:
        """Ask what the server has counted since it started; names as in the manual.

        Examples
        --------
        >>> from cim_hal import open_device
        >>> with open_device("emulator") as device:
        ...     device.metrics().value("jobs_total", end="done")
        0.0
        """
        return self._ask(AskMetrics(), MetricsReport, timeout_s)

    # ---- jobs -----------------------------------------------------------------------------------

    @blocking
    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> Steps[Job]:
        """Queue a job and return at once.

        Parameters
        ----------
        model : IsingModel
        schedule : PumpSchedule, optional
            The one the machine recommends if None.
        n_runs : int
            Independent runs from vacuum to readout; 1 by default.
        seed : int, optional
            0 to 2^63 - 1. If None it is drawn from the operating system, and recorded.
        coupling_bits, gauge_seed : int, optional
            See `load`.
        lowering : str
            The policy by which a model that does not fit is brought to the machine's levels, see
            `lower_by`: ``max`` by default, ``quantile``, ``least-error``, ``stochastic`` with the
            seed of the job, ``splitting``, ``mutation`` or ``weakening``.
        settings : mapping of str to float, optional
            Values of settings in ``capabilities.settings``, for this job only.
        trace : TraceRequest, optional
            Amplitudes to keep while the first runs of the job run; 64 MiB of them at most.
        priority : int
            −9 to 9, 0 by default. The job goes before those of the same user with a lower one.
        key : str, optional
            Idempotency key: 32 hexadecimal digits, a new one if None. After a `TransportError`
            submit again with the same key, seed and options, from any process: it is the same
            job, and runs once.
        keep : bool
            Whether the job outlives this session, as it does by default. If not, it is cancelled
            and its result dropped when the session ends.
        timeout_s : float, optional
            For the job to be queued, its upload included.

        Raises
        ------
        CapabilityError
            The model, the schedule, `n_runs`, a setting or the trace is more than the machine
            has. For the last two nothing was sent.
        QueueFullError
            Too many jobs wait.
        ConflictError
            The key was used before, for another request.
        ModelError
            A value is malformed for any machine, or `lowering` is refused.
        """
        check_job(model, schedule, options)
        deadline = self._client.deadline(timeout_s)
        capabilities = (yield from self._client.hello(deadline)).capabilities
        trace = options.get("trace")
        options["settings"] = {**self._client.settings, **(options.get("settings") or {})}
        lowered = _lowered(model, capabilities, options)
        model = model if lowered is None else lowered.model
        request = sample_request(self._uploader.digest(model), schedule, SampleOptions.of(options))
        capabilities.check_settings(request.settings)
        if trace is not None:
            round_trips = (schedule or capabilities.default_schedule).round_trips
            capabilities.check_trace(
                trace, round_trips=round_trips, n_runs=request.n_runs, n_spins=model.n_spins
            )
        status = yield from self._queue(model, request, deadline)
        return Job(self, self._client, model, status, has_trace=trace is not None, lowered=lowered)

    def sample(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[SampleKeywords],
    ) -> SampleSet:
        """Submit a job and wait for its samples; parameters and errors as of `submit`.

        The job is not kept when the session ends, and an interrupt (Ctrl-C) cancels it. With a
        `timeout_s` all of it ends then, and a job that is not done is cancelled.
        """
        deadline = self._client.deadline(timeout_s)
        options.setdefault("keep", False)
        job = self.submit(model, schedule, timeout_s=timeout_s, **options)
        remaining_s = None if timeout_s is None else self._client.remaining_s(deadline)
        try:
            return self._run(job.fetch(remaining_s, cancels=True))
        except (KeyboardInterrupt, CallCancelledError):
            with observing(None):
                job.cancel()
            raise

    @blocking
    def job(
        self, job_id: str, model: IsingModel | None = None, *, timeout_s: float | None = None
    ) -> Steps[Job]:
        """Find a job of this user by its id, from any session and process.

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
        """
        if model is not None:
            check_model(model)
        wait = checked(WaitJob, job=job_id)
        client, deadline = self._client, self._client.deadline(timeout_s)
        listed = yield from client.ask(checked(ListJobs, job=job_id), JobList, deadline=deadline)
        status = yield from client.ask(wait, JobStatus, deadline=deadline)
        info = listed.jobs[0] if listed.jobs else None
        if model is not None and info is not None:
            self._check_digest(model, info)
        has_trace = info is not None and info.has_trace
        return Job(self, client, model, status, has_trace=has_trace)

    @blocking
    def jobs(self, *states: str, timeout_s: float | None = None) -> Steps[tuple[JobInfo, ...]]:
        """List the jobs of this user that still have something to fetch, the oldest first.

        Parameters
        ----------
        *states : str
            Only jobs that are ``queued``, ``running``, ``stopping``, ``done``, ``failed`` or
            ``cancelled``.
        """
        deadline = self._client.deadline(timeout_s)
        require_each("states", states, str, ModelError, hint="such as done")
        request = checked(ListJobs, states=states)
        found: dict[str, JobInfo] = {}
        while True:
            page = yield from self._client.ask(request, JobList, deadline=deadline)
            found.update((info.job, info) for info in page.jobs)
            if not page.more:
                return tuple(found.values())
            request = request.model_copy(update={"after": page.cursor})

    def cancel(self, job_id: str, *, timeout_s: float | None = None) -> JobState:
        """End a job early, by its id; that of another session needs the role operator.

        Returns
        -------
        JobState
            The state of the job now; one that has ended stays as it is.

        Raises
        ------
        UnknownReferenceError
            There is no such job, or it is another session's and not for this user to cancel.
        """
        return self._ask(checked(CancelJob, job=job_id), JobStatus, timeout_s).state

    def _queue(self, model: IsingModel, request: Sample, deadline: float) -> Steps[JobStatus]:
        """Send the request; load the model first only if the server asks for it."""
        # To the end: whoever is cancelled here has to learn of the job to cancel it.
        times = Times(deadline=deadline, to_end=True)
        try:
            return (yield from self._client.ask(request, JobStatus, **times))
        except UnknownReferenceError as error:
            if error.details.get("kind") != "coupling":
                raise
        yield from self._uploader.load(model, request.coupling, deadline)
        return (yield from self._client.ask(request, JobStatus, **times))

    def _check_digest(self, model: IsingModel, info: JobInfo) -> None:
        digest = self._uploader.digest(model)
        if digest != info.coupling.digest:
            raise ModelError(
                f"job {info.job} is of the couplings {info.coupling.digest[:19]}…, and the "
                f"model has {digest[:19]}…",
                hint="pass the model that was submitted",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._options,)


def _lowered(
    model: IsingModel, capabilities: Capabilities, options: SampleKeywords
) -> LoweredModel | None:
    """Return a model as it is sent, None where the server lowers it; draw a seed if need be."""
    policy = options.get("lowering", "max")
    if Policy.of(policy).name == "max":
        return None
    if options.get("seed") is None:
        options["seed"] = secrets.randbits(63)
    bits, seed = options.get("coupling_bits"), options.get("seed") or 0
    return lower_by(policy, model, capabilities, bits=bits, seed=seed)


def _end(runner: Runner, client: RequestClient) -> None:
    """Say goodbye if that is possible, and disconnect."""
    try:
        if runner.is_usable:
            runner.run(client.bye())
    finally:
        runner.close()
