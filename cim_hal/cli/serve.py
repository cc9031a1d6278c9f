"""``cim-hal serve``: a driver behind a socket until a signal, with limits and pages beside it."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from cim_hal.cli.common import configured, on_signals, print_ready, refused
from cim_hal.console import INTERRUPTED, say
from cim_hal.errors import CimError
from cim_hal.key_files import read_pair
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.faulty_driver import FaultScript, FaultyDriver
from cim_hal.machine.registry import check_options, claim, make_driver
from cim_hal.option_types import (
    FILE,
    LISTEN,
    POSITIVE_SECONDS,
    Address,
    OutputFile,
    OutputFolder,
    Target,
    driver_option,
    real,
)
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.driver.calls import RebuildableDriver
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import DriverOptions
from cim_hal.server.logs import FORMATS, configure, keep_audit_in
from cim_hal.server.process_usage import keep_small
from cim_hal.server.router import Router
from cim_hal.server.security.authenticator import Authenticator, default_file
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint
from cim_hal.server.storage.journal import DiskJournal, default_folder
from cim_hal.server.storage.spool import CalibrationStore
from cim_hal.toml_files import first_problem

if TYPE_CHECKING:
    from cim_hal.machine.driver import Driver
    from cim_hal.server.logs import LogFormat

__all__ = ["PageOptions", "chosen_driver", "read_limits", "serve"]

KEPT_S = 86_400.0  # how long results wait on disk for those who asked for them
LEVELS = ("debug", "info", "warning", "error")
DRAIN_S = 5.0  # for the running job, once the server is told to end
PAGE_INTERVAL_S = 1.0
SNAPSHOT_S = 0.5


@click.command()
@click.argument("target", type=Target())
@driver_option
@click.option(
    "--bind",
    "endpoint",
    type=LISTEN,
    default=DEFAULT,
    show_default=True,
    metavar="ENDPOINT",
    help="Where to listen: tcp://host:port, port 0 for a free one, or ipc://path.",
)
@click.option(
    "--insecure", is_flag=True, help="Accept other machines without keys: trusted networks only."
)
@click.option(
    "--key",
    "key_path",
    type=FILE,
    metavar="FILE.key",
    help="Require keys and encrypt: the secret key file of this server.",
)
@click.option(
    "--authorized",
    "authorized_path",
    type=FILE,
    metavar="FILE.toml",
    help="With --key: the accepted clients; read again when it changes, and on SIGHUP.  "
    "[default: what cim-hal keys authorize writes]",
)
@click.option(
    "--audit",
    "audit_path",
    type=OutputFile(),
    metavar="FILE",
    help="Append an audit log to this file, one JSON object a line.",
)
@click.option(
    "--calibrations",
    "calibrations_path",
    type=OutputFolder(),
    metavar="FOLDER",
    help="Keep calibrations in this folder across restarts, one file each.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="warning",
    show_default=True,
    help="Least level of the log, on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="human",
    show_default=True,
    help="Format of the log: lines for people, or one JSON object a line.",
)
@click.option(
    "--web",
    type=Address(),
    metavar="HOST:PORT",
    help="Show the state of the server on a read-only page at http://HOST:PORT/.",
)
@click.option(
    "--metrics",
    type=Address(),
    metavar="HOST:PORT",
    help="Serve metrics for Prometheus at http://HOST:PORT/metrics.",
)
@click.option(
    "--public",
    is_flag=True,
    help="Let other machines read --web and --metrics: trusted networks only.",
)
@click.option(
    "--faults",
    "faults_path",
    type=FILE,
    metavar="FILE.toml",
    help="For tests: inject the faults of this script.",
)
@click.option(
    "--state",
    "state_folder",
    type=OutputFolder(),
    metavar="FOLDER",
    help="Keep jobs and their results here, across restarts.  "
    "[default: a folder of TARGET under the user's state directory]",
)
@click.option(
    "--no-journal", is_flag=True, help="Keep jobs in memory only: they end with the server."
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set one limit, such as lease_s=60; overrides a machine file. Repeatable.",
)
@click.option(
    "--in-process",
    is_flag=True,
    help="Run the driver in the process of the server, which a crash then ends.",
)
@click.option(
    "--driver-hang",
    "hang_s",
    type=POSITIVE_SECONDS,
    default=DriverOptions.hang_s,
    show_default=True,
    metavar="SECONDS",
    help="End the driver's process after this time without a sign of life.",
)
@click.option(
    "--driver-grace",
    "grace_s",
    type=POSITIVE_SECONDS,
    default=DriverOptions.grace_s,
    show_default=True,
    metavar="SECONDS",
    help="End it when it ignores a cancelled job for this time.",
)
@click.option(
    "--driver-run-limit",
    "run_s",
    type=POSITIVE_SECONDS,
    metavar="SECONDS",
    help="End it when a run takes longer.  [default: what the machine says]",
)
@click.option(
    "--driver-calibration-limit",
    "calibrate_s",
    type=POSITIVE_SECONDS,
    default=DriverOptions.calibrate_s,
    show_default=True,
    metavar="SECONDS",
    help="End it when a calibration takes longer.",
)
@click.option(
    "--driver-memory",
    "memory_mib",
    type=click.IntRange(1, 2**30),
    metavar="MIB",
    help="End it when it uses more memory, in MiB.",
)
@click.option(
    "--drain",
    "drain_s",
    type=POSITIVE_SECONDS,
    metavar="SECONDS",
    help="At the first Ctrl-C or SIGTERM finish all jobs that wait, for this time at most.  "
    f"[default: finish the one that runs, for {DRAIN_S:g} s]",
)
@click.option(
    "--hardware",
    default="",
    metavar="NAME",
    help="Name of the machine behind the driver, which one server at a time may have.  "
    "[default: that of the machine file, or the factory of TARGET; none where it is emulated]",
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--machine-json", hidden=True)  # instead of TARGET, for `spawn_server`
def serve(
    target: MachineConfig,
    *,
    option_texts: dict[str, str],
    endpoint: str,
    insecure: bool,
    key_path: Path | None,
    authorized_path: Path | None,
    audit_path: Path | None,
    calibrations_path: Path | None,
    log_level: str,
    log_format: LogFormat,
    web: str | None,
    metrics: str | None,
    public: bool,
    faults_path: Path | None,
    limits: tuple[str, ...],
    state_folder: Path | None,
    no_journal: bool,
    drain_s: float | None,
    until_stdin_closes: bool,
    machine_json: str | None,
    **driver: Any,
) -> None:
    """Serve the driver TARGET on the network until Ctrl-C or SIGTERM.

    Prints one line on stdout when it is ready, with the endpoint. The driver runs in a process of
    its own, which is restarted when it crashes or hangs. At the end the running job is finished if
    that is soon; a second signal ends at once.

    \b
    Examples:
      cim-hal serve emulator
      cim-hal serve bench.toml --bind tcp://127.0.0.1:5555
      cim-hal serve my_lab.bench:make --option host=10.0.0.5
      cim-hal serve emulator --state /var/lib/cim-hal/emulator
      cim-hal serve emulator --faults faults.toml
      cim-hal serve emulator --limit lease_s=60
      cim-hal serve emulator --bind tcp://0.0.0.0:5555 --key server.key --audit audit.jsonl
    """  # noqa: D301
    config = configured(_given(machine_json) or target, option_texts)
    if config.is_endpoint:
        raise click.UsageError(f"{config.driver} is a server already: serve takes a driver")
    with refused("--bind"):
        check_endpoint(endpoint, insecure=insecure, keyed=key_path is not None)
    configure(level=log_level, style=log_format, stream=sys.stderr)
    keep_small()
    with refused("--faults"):  # as all that is wrong: before anything is opened or written
        script = faults_path and FaultScript.read(faults_path)
    authenticator = _authenticator(key_path, authorized_path)
    on_signals(lambda: sys.exit(0))  # nothing to stop before the router is there
    pages = PageOptions(web=web, metrics=metrics, public=public)
    if no_journal and state_folder is not None:
        raise click.UsageError("--state and --no-journal exclude each other")
    kept_s = Limits().result_s if no_journal else KEPT_S
    agreed = read_limits(config, limits, result_s=kept_s)
    if audit_path is not None:
        _audit_to(audit_path)
    if script:
        warning = f"faults are injected: {script.summary} (from {faults_path})"
        say(f"warning: {warning}", err=True)
    with (
        _options_first(config),
        Router(
            chosen_driver(config, faults_path, **driver),
            endpoint,
            insecure=insecure,
            authenticator=authenticator,
            limits=agreed,
            snapshot_every_s=pages.snapshot_every_s,
            calibrations=calibrations_path and CalibrationStore(calibrations_path),
            journal=None
            if no_journal
            else DiskJournal(state_folder or default_folder(config.label)),
        ) as router,
        pages.shown(router),
    ):
        on_signals(lambda: _end(router, drain_s))
        if authenticator and hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: router.reload())
        if until_stdin_closes:
            threading.Thread(target=_stop_after_stdin, args=[router], daemon=True).start()
        print_ready(f"{config.target} at {router.endpoint}")
        router.serve()


@contextmanager
def _options_first(config: MachineConfig) -> Iterator[None]:
    """Raise the error of a wrong option in place of another one, such as a port that is in use."""
    try:
        yield
    except CimError:
        check_options(config)
        raise


def _given(machine_json: str | None) -> MachineConfig | None:
    try:
        return MachineConfig.model_validate_json(machine_json) if machine_json else None
    except ValidationError as error:
        raise click.BadParameter(first_problem(error), param_hint="--machine-json") from None


def _authenticator(key: Path | None, authorized: Path | None) -> Authenticator | None:
    if key is not None:
        return Authenticator(read_pair(key), authorized or default_file())
    if authorized is not None:
        raise click.UsageError("--authorized needs --key: without it the server requires no keys")
    return None


def _audit_to(path: Path) -> None:
    try:
        keep_audit_in(path)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None


def _end(router: Router, drain_s: float | None) -> None:
    """Drain at a first signal; a second one ends this process, whose driver its keeper ends."""
    router.drain(DRAIN_S if drain_s is None else drain_s, queue=drain_s is not None)
    on_signals(lambda: os._exit(INTERRUPTED))


def _stop_after_stdin(router: Router) -> None:
    # Not sys.stdin: its lock, held by a thread, would disturb the end of the interpreter.
    while os.read(0, 4096):
        pass
    router.stop()


def read_limits(config: MachineConfig, assignments: Iterable[str], **defaults: float) -> Limits:
    """Return the limits of a machine file and of assignments such as ``lease_s=60``.

    Limits that neither names have the values of `defaults`, or else those of the protocol. Unknown
    names and wrong values are a `click.BadParameter`.
    """
    with refused("TARGET"):
        Limits.of(config.limits, config.target)
    fields: dict[str, Any] = {**defaults, **config.limits}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not NAME=VALUE", param_hint="--limit")
        fields[name.strip()] = _number(name, value)
    try:
        return Limits(**fields)
    except ValidationError as error:
        raise click.BadParameter(first_problem(error), param_hint="--limit") from None


def _number(name: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return real(text, f"a number, in {name} = {text!r}", "--limit")


def chosen_driver(
    config: MachineConfig,
    faults_path: Path | None,
    *,
    in_process: bool,
    memory_mib: int | None,
    **options: Any,
) -> Driver:
    """Return the driver of a target, by default in a process of its own."""
    script = faults_path and FaultScript.read(faults_path)
    if in_process or os.name != "posix":
        claim(config, hardware=options["hardware"], server=os.getpid())
        driver = RebuildableDriver(lambda: make_driver(config))
        return FaultyDriver(driver, script, may_crash=True) if script else driver
    memory_bytes = memory_mib * 1024**2 if memory_mib else None
    chosen = DriverOptions(memory_bytes=memory_bytes, **options)
    return DriverProcess(config, faults=str(faults_path or ""), options=chosen)


class PageOptions:
    """Which pages to serve, and at which addresses.

    The router has to make a snapshot every `snapshot_every_s`; never if nothing is to be shown.
    `click.BadParameter` if an address is malformed, or open to other machines without `public`;
    `TargetError` if the extra ``metrics`` is missing.
    """

    def __init__(self, *, web: str | None, metrics: str | None, public: bool) -> None:
        self.snapshot_every_s = SNAPSHOT_S if web or metrics else math.inf
        self._web = self._metrics = None
        if not (web or metrics):
            return
        from cim_hal.watch.pages import parse_address, require_prometheus

        with refused("--web"):
            self._web = parse_address(web, public=public) if web else None
        if metrics:
            require_prometheus()
            with refused("--metrics"):
                self._metrics = parse_address(metrics, public=public)

    @contextmanager
    def shown(self, router: Router) -> Iterator[None]:
        """Serve the pages of a server, in threads that never wait for it."""
        with ExitStack() as stack:
            if self._web or self._metrics:
                self._show(stack, router)
            yield

    def _show(self, stack: ExitStack, router: Router) -> None:
        from cim_hal.watch.pages import PageServer, StatusPage, metrics_pages
        from cim_hal.watch.poller import Poller, local_snapshots

        if self._web:
            status_page = StatusPage()
            source = local_snapshots(router.endpoint, lambda: router.snapshot)
            page = stack.enter_context(PageServer(self._web, status_page.pages))
            stack.enter_context(
                Poller(source, every_s=PAGE_INTERVAL_S, on_snapshot=status_page.update)
            )
            say(f"page at {page.url}", err=True)
        if self._metrics:
            pages = metrics_pages(lambda: router.snapshot and router.snapshot.metrics)
            page = stack.enter_context(PageServer(self._metrics, pages))
            say(f"metrics at {page.url}metrics", err=True)
