"""Groups of options of ``cim-hal serve``: limits, the driver's process, pages beside the socket."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from cim_hal.cli.common import FILE, POSITIVE_SECONDS, read_toml
from cim_hal.machine.faulty_driver import FaultScript, FaultyDriver
from cim_hal.machine.registry import make_driver
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import DriverOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cim_hal.machine.driver import Driver
    from cim_hal.server.router import Router

__all__ = [
    "PageOptions",
    "chosen_driver",
    "driver_options",
    "limit_options",
    "page_options",
    "read_limits",
]

PAGE_INTERVAL_S = 1.0
SNAPSHOT_S = 0.5


def _group(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return one decorator for several options, in the order in which help lists them."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


limit_options = _group(
    click.option(
        "--limits",
        "limits_path",
        type=FILE,
        metavar="FILE.toml",
        help="File of limits: sizes, numbers and times, one NAME = VALUE a line.",
    ),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set one limit, such as lease_s=60; overrides the file. Repeatable.",
    ),
)

driver_options = _group(
    click.option(
        "--in-process",
        is_flag=True,
        help="Run the driver in the process of the server, which a crash then ends.",
    ),
    click.option(
        "--driver-hang",
        "hang_s",
        type=POSITIVE_SECONDS,
        default=DriverOptions.hang_s,
        show_default=True,
        metavar="SECONDS",
        help="End the driver's process after this time without a sign of life.",
    ),
    click.option(
        "--driver-grace",
        "grace_s",
        type=POSITIVE_SECONDS,
        default=DriverOptions.grace_s,
        show_default=True,
        metavar="SECONDS",
        help="End it when it ignores a cancelled job for this time.",
    ),
    click.option(
        "--driver-run-limit",
        "run_s",
        type=POSITIVE_SECONDS,
        metavar="SECONDS",
        help="End it when a run takes longer.  [default: what the machine says]",
    ),
    click.option(
        "--driver-calibration-limit",
        "calibrate_s",
        type=POSITIVE_SECONDS,
        default=DriverOptions.calibrate_s,
        show_default=True,
        metavar="SECONDS",
        help="End it when a calibration takes longer.",
    ),
    click.option(
        "--driver-memory",
        "memory_mib",
        type=click.IntRange(min=1),
        metavar="MIB",
        help="End it when it uses more memory, in MiB.",
    ),
)

page_options = _group(
    click.option(
        "--web",
        metavar="HOST:PORT",
        help="Show the state of the server on a read-only page at http://HOST:PORT/.",
    ),
    click.option(
        "--metrics",
        metavar="HOST:PORT",
        help="Serve metrics for Prometheus at http://HOST:PORT/metrics.",
    ),
    click.option(
        "--public",
        is_flag=True,
        help="Let other machines read --web and --metrics: trusted networks only.",
    ),
)


def read_limits(path: Path | None, assignments: Iterable[str], **defaults: float) -> Limits:
    """Return the limits of a file and of assignments such as ``lease_s=60``.

    Limits that neither names have the values of `defaults`, or else those of the protocol.

    Raises
    ------
    click.BadParameter
        The file cannot be read; there is no limit of that name, or it cannot have that value.
    """
    fields = defaults | ({} if path is None else read_toml(path))
    source = f"{path}: " if path else ""
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not NAME=VALUE")
        fields[name.strip()] = _number(name, value)
        source = ""
    return _checked(fields, source)


def _number(name: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{name} = {text!r} is not a number") from None


def _checked(fields: Mapping[str, Any], source: str) -> Limits:
    for name in fields:
        if name not in Limits.model_fields:
            near = get_close_matches(name, Limits.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else f": {', '.join(Limits.model_fields)}"
            raise click.BadParameter(f"{source}there is no limit {name!r}{hint}")
    try:
        return Limits(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise click.BadParameter(f"{source}{where} = {first['input']}: {first['msg']}") from None


def chosen_driver(
    target: str,
    faults_path: Path | None,
    *,
    in_process: bool,
    memory_mib: int | None,
    **options: Any,
) -> Driver:
    """Return the driver of a target, by default in a process of its own.

    Raises
    ------
    TargetError
        The fault script is wrong, or a driver for this process does not exist.
    """
    script = faults_path and FaultScript.read(faults_path)
    if script:
        warning = f"faults are injected: {script.summary} (from {faults_path})"
        click.echo(f"warning: {warning}", err=True)
    if in_process or os.name != "posix":
        driver = make_driver(target)
        return FaultyDriver(driver, script, may_crash=True) if script else driver
    memory_bytes = memory_mib * 1024**2 if memory_mib else None
    chosen = DriverOptions(memory_bytes=memory_bytes, **options)
    return DriverProcess(target, faults=str(faults_path or ""), options=chosen)


class PageOptions:
    """Which pages to serve, and at which addresses.

    The router has to make a snapshot every `snapshot_every_s`; never if nothing is to be shown.

    Raises
    ------
    BindError
        An address is malformed, or open to other machines without `public`.
    TargetError
        The extra ``metrics`` is missing.
    """

    def __init__(self, *, web: str | None, metrics: str | None, public: bool) -> None:
        self.snapshot_every_s = SNAPSHOT_S if web or metrics else math.inf
        self._web = self._metrics = None
        if not (web or metrics):
            return
        from cim_hal.watch.http import parse_address
        from cim_hal.watch.pages import require_prometheus

        self._web = parse_address(web, public=public) if web else None
        if metrics:
            require_prometheus()
            self._metrics = parse_address(metrics, public=public)

    @contextmanager
    def shown(self, router: Router) -> Iterator[None]:
        """Serve the pages of a server, in threads that never wait for it."""
        with ExitStack() as stack:
            if self._web or self._metrics:
                self._show(stack, router)
            yield

    def _show(self, stack: ExitStack, router: Router) -> None:
        from cim_hal.watch.http import PageServer
        from cim_hal.watch.pages import StatusPage, metrics_pages
        from cim_hal.watch.poller import Poller, local_snapshots

        if self._web:
            status_page = StatusPage()
            source = local_snapshots(router.endpoint, lambda: router.snapshot)
            page = stack.enter_context(PageServer(self._web, status_page.pages))
            stack.enter_context(
                Poller(source, every_s=PAGE_INTERVAL_S, on_snapshot=status_page.update)
            )
            click.echo(f"page at {page.url}", err=True)
        if self._metrics:
            pages = metrics_pages(lambda: router.snapshot and router.snapshot.metrics)
            page = stack.enter_context(PageServer(self._metrics, pages))
            click.echo(f"metrics at {page.url}metrics", err=True)
