"""``cim-hal serve``: a driver behind a socket until a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import FILE, FOLDER, print_ready
from cim_hal.cli.serve_options import (
    PageOptions,
    chosen_driver,
    driver_options,
    limit_options,
    page_options,
    read_limits,
)
from cim_hal.key_files import read_pair
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.logs import FORMATS, configure, keep_audit_in
from cim_hal.server.process_usage import keep_small
from cim_hal.server.router import Router
from cim_hal.server.security.authenticator import Authenticator, default_file
from cim_hal.server.security.endpoint import DEFAULT
from cim_hal.server.storage.calibrations import CalibrationStore
from cim_hal.server.storage.journal import DiskJournal, default_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cim_hal.server.logs import LogFormat

__all__ = ["serve"]

KEPT_S = 86_400.0  # how long results wait on disk for those who asked for them
LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.argument("target")
@click.option(
    "--bind",
    "endpoint",
    default=DEFAULT,
    show_default=True,
    metavar="ENDPOINT",
    help="Where to listen: tcp://host:port, port 0 for a free one, or ipc://path.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Accept other machines without keys: trusted networks only.",
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
    type=FILE,
    metavar="FILE",
    help="Append an audit log to this file, one JSON object a line.",
)
@click.option(
    "--calibrations",
    "calibrations_path",
    type=FOLDER,
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
@page_options
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
    type=FOLDER,
    metavar="FOLDER",
    help="Keep jobs and their results here, across restarts.  "
    "[default: a folder of TARGET under the user's state directory]",
)
@click.option(
    "--no-journal",
    is_flag=True,
    help="Keep jobs in memory only: they end with the server.",
)
@limit_options
@driver_options
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(
    target: str,
    *,
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
    limits_path: Path | None,
    limits: tuple[str, ...],
    state_folder: Path | None,
    no_journal: bool,
    until_stdin_closes: bool,
    **driver: Any,
) -> None:
    """Serve the driver TARGET on the network until Ctrl-C or SIGTERM.

    Prints one line on stdout when it is ready, with the endpoint. The driver runs in a process of
    its own, which is restarted when it crashes or hangs.

    \b
    Examples:
      cim-hal serve emulator
      cim-hal serve my_lab.bench:make --bind tcp://127.0.0.1:5555
      cim-hal serve emulator --state /var/lib/cim-hal/emulator
      cim-hal serve emulator --faults faults.toml
      cim-hal serve emulator --limits limits.toml --limit lease_s=60
      cim-hal serve emulator --bind tcp://0.0.0.0:5555 --key server.key --audit audit.jsonl
    """  # noqa: D301
    configure(level=log_level, style=log_format, stream=sys.stderr)
    keep_small()
    if audit_path is not None:
        _audit_to(audit_path)
    authenticator = _authenticator(key_path, authorized_path)
    _on_signals(lambda: sys.exit(0))  # nothing to stop before the router is there
    pages = PageOptions(web=web, metrics=metrics, public=public)
    if no_journal and state_folder is not None:
        raise click.UsageError("--state and --no-journal exclude each other")
    kept_s = Limits().result_s if no_journal else KEPT_S
    agreed = read_limits(limits_path, limits, result_s=kept_s)
    journal = None if no_journal else DiskJournal(state_folder or default_folder(target))
    with (
        Router(
            chosen_driver(target, faults_path, **driver),
            endpoint,
            insecure=insecure,
            authenticator=authenticator,
            limits=agreed,
            snapshot_every_s=pages.snapshot_every_s,
            calibrations=calibrations_path and CalibrationStore(calibrations_path),
            journal=journal,
        ) as router,
        pages.shown(router),
    ):
        _on_signals(router.stop)
        if authenticator and hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: router.reload())
        if until_stdin_closes:
            threading.Thread(target=_stop_after_stdin, args=[router], daemon=True).start()
        print_ready(f"{target} at {router.endpoint}")
        router.serve()


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


def _on_signals(action: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def _stop_after_stdin(router: Router) -> None:
    # Not sys.stdin: its lock, held by a thread, would disturb the end of the interpreter.
    while os.read(0, 4096):
        pass
    router.stop()
