"""``cim-hal monitor``: a live view of a server, in the terminal or as a page."""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live

from cim_hal.cli.common import key_options
from cim_hal.watch.http import PageServer, parse_address
from cim_hal.watch.keyboard import Keyboard
from cim_hal.watch.pages import StatusPage
from cim_hal.watch.poller import Poller
from cim_hal.watch.screen import draw
from cim_hal.watch.snapshot import History, Snapshot
from cim_hal.watch.sources import ServerSource

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["monitor"]

KEY_POLL_S = 0.1  # how soon a key or a new size of the terminal is noticed


@click.command()
@click.argument("target")
@key_options
@click.option("--once", is_flag=True, help="Show it once and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, or one a look.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1, max=3600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option(
    "--web",
    "web_address",
    metavar="HOST:PORT",
    help="Show it as a page at http://HOST:PORT/ instead; port 0 for a free one.",
)
@click.option(
    "--public", is_flag=True, help="Let other machines read --web: trusted networks only."
)
def monitor(
    target: str,
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
    source = ServerSource(target, key=key, server_key=server_key)
    if once:
        _once(source, as_json=as_json)
    elif web_address is not None:
        _serve_page(source, every_s, parse_address(web_address, public=public))
    elif as_json:
        _stream(source, every_s)
    else:
        _watch(source, every_s)


def _once(source: ServerSource, *, as_json: bool) -> None:
    snapshot = source.read()
    source.close()
    if as_json:
        click.echo(json.dumps(snapshot.as_json()))
    else:
        console, history = Console(), History()
        history.add(snapshot)
        height = max(console.height - 1, 24)
        screen = draw(snapshot, history, width=console.width, height=height)
        console.print(screen, height=height)
    if snapshot.trouble:
        raise click.ClickException(snapshot.trouble)


def _stream(source: ServerSource, every_s: float) -> None:
    def print_snapshot(snapshot: Snapshot, _history: History) -> None:
        click.echo(json.dumps(snapshot.as_json()))
        sys.stdout.flush()

    with Poller(source, every_s=every_s, on_snapshot=print_snapshot) as poller:
        _wait(poller)


def _watch(source: ServerSource, every_s: float) -> None:
    console = Console()
    with ExitStack() as stack:
        poller = stack.enter_context(Poller(source, every_s=every_s))
        keyboard = stack.enter_context(Keyboard(sys.stdin))
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


def _serve_page(source: ServerSource, every_s: float, address: tuple[str, int]) -> None:
    page = StatusPage()
    with (
        PageServer(address, page.pages) as pages,
        Poller(source, every_s=every_s, on_snapshot=page.update) as poller,
    ):
        click.echo(f"ready: {pages.url}")
        sys.stdout.flush()
        _wait(poller)


def _wait(poller: Poller) -> None:
    """Wait for a signal, or for a failure that will not pass."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        while not ended.wait(KEY_POLL_S):
            if poller.failure:
                raise poller.failure
    except KeyboardInterrupt:
        return
