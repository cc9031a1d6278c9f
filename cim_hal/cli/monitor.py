"""``cim-hal monitor``: a live view of a server, in the terminal or as a page."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import click
from rich.console import Console
from rich.live import Live

from cim_hal.cli.common import (
    ServerTarget,
    TargetArgument,
    key_options,
    print_ready,
    refused,
    signalled,
)
from cim_hal.console import say
from cim_hal.option_types import Address, Real
from cim_hal.watch.pages import PageServer, StatusPage, parse_address
from cim_hal.watch.poller import History, Poller, server_snapshots
from cim_hal.watch.screen import draw

if TYPE_CHECKING:
    from cim_hal.machine.config import MachineConfig
    from cim_hal.server.status_snapshot import StatusSnapshot

try:
    import termios
    import tty
except ImportError:  # Windows has no such terminal; Ctrl-C still ends the command
    termios = tty = None

__all__ = ["monitor"]

KEY_POLL_S = 0.1  # how soon a key or a new size of the terminal is noticed


@click.command()
@click.argument("target", cls=TargetArgument, type=ServerTarget())
@key_options
@click.option("--once", is_flag=True, help="Show it once and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, or one a poll.")
@click.option(
    "--every",
    "every_s",
    type=Real(0.1, 3600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one poll to the next.",
)
@click.option(
    "--web",
    "web_address",
    type=Address(),
    metavar="HOST:PORT",
    help="Show it as a page at http://HOST:PORT/ instead; port 0 for a free one.",
)
@click.option(
    "--public", is_flag=True, help="Let other machines read --web: trusted networks only."
)
def monitor(
    target: MachineConfig,
    *,
    key: Path | None,
    server_key: str | None,
    once: bool,
    as_json: bool,
    every_s: float,
    web_address: str | None,
    public: bool,
) -> None:
    """Show the server TARGET live: queue, running job, telemetry, throughput, events.

    It changes nothing there, and any role may do it. It connects again by itself. Keys: q quits.

    \b
    Examples:
      cim-hal monitor tcp://127.0.0.1:5555
      cim-hal monitor tcp://127.0.0.1:5555 --once --json
      cim-hal monitor tcp://127.0.0.1:5555 --web 127.0.0.1:8080
    """  # noqa: D301
    with refused("--web"):
        address = web_address and parse_address(web_address, public=public)
    source = server_snapshots(target, key=key, server_key=server_key)
    if once:
        _once(source, as_json=as_json)
    elif address:
        _serve_page(source, every_s, address)
    elif as_json:
        _stream(source, every_s)
    else:
        _watch(source, every_s)


def _once(source: Generator[StatusSnapshot], *, as_json: bool) -> None:
    snapshot = next(source)
    source.close()
    if as_json:
        say(json.dumps(snapshot.as_json()))
    else:
        console, history = Console(), History()
        history.add(snapshot)
        height = max(console.height - 1, 24)
        screen = draw(snapshot, history, width=console.width, height=height)
        console.print(screen, height=height)
    if snapshot.trouble:
        raise click.ClickException(snapshot.trouble)


def _stream(source: Generator[StatusSnapshot], every_s: float) -> None:
    """Print one object a poll, in this thread: one that cannot be written ends the command."""
    ended, latest = signalled(), None
    with closing(source):
        while not ended.is_set():
            began = time.monotonic()
            latest = next(source).after(latest)
            say(json.dumps(latest.as_json()))
            sys.stdout.flush()
            ended.wait(max(every_s - (time.monotonic() - began), 0.01))


def _watch(source: Generator[StatusSnapshot], every_s: float) -> None:
    console = Console()
    with ExitStack() as stack:
        poller = stack.enter_context(Poller(source, every_s=every_s))
        keyboard = stack.enter_context(_Keyboard(sys.stdin))
        live = Live(console=console, screen=True, auto_refresh=False, transient=True)
        stack.enter_context(live)
        shown: object = None
        while keyboard.wait(KEY_POLL_S) not in ("q", "Q", "\x03", "\x04"):
            if poller.failure:
                raise poller.failure
            now = (poller.n_polls, console.size)
            if now != shown:
                width, height = console.size
                screen = draw(poller.latest, poller.history, width=width, height=height)
                live.update(screen, refresh=True)
                shown = now


def _serve_page(
    source: Generator[StatusSnapshot], every_s: float, address: tuple[str, int]
) -> None:
    page = StatusPage()
    with (
        PageServer(address, page.pages) as pages,
        Poller(source, every_s=every_s, on_snapshot=page.update) as poller,
    ):
        print_ready(pages.url)
        _wait(poller)


def _wait(poller: Poller) -> None:
    """Wait for a signal, or raise the failure of the poller."""
    ended = signalled()
    while not ended.wait(KEY_POLL_S):
        if poller.failure:
            raise poller.failure


class _Keyboard:
    """Reads keys as they are pressed; a context manager that restores the terminal.

    If the input is not a terminal, no key is ever pressed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._file = stream.fileno() if termios and stream.isatty() else None
        self._before: list[Any] = []

    def wait(self, seconds: float) -> str:
        """Return the key pressed within `seconds`, or an empty string."""
        if self._file is None:
            time.sleep(seconds)
            return ""
        if not select.select([self._file], [], [], seconds)[0]:
            return ""
        pressed = os.read(self._file, 64)
        return pressed.decode("utf-8", "replace")[:1] if pressed else "\x04"

    def __enter__(self) -> Self:
        if self._file is not None and termios and tty:
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and termios:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
