"""The pages that ``cim-hal serve`` can show beside the socket: ``--web`` and ``--metrics``."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.server.router import Router

__all__ = ["PageOptions", "page_options"]

EVERY_S = 1.0
SNAPSHOT_S = 0.5
Command = TypeVar("Command", bound="Callable[..., Any]")


def page_options(command: Command) -> Command:
    """Add ``--web``, ``--metrics`` and ``--public``."""
    for option in (
        click.option(
            "--public",
            is_flag=True,
            help="Let other machines read --web and --metrics: trusted networks only.",
        ),
        click.option(
            "--metrics",
            metavar="HOST:PORT",
            help="Serve what is counted to Prometheus, at http://HOST:PORT/metrics.",
        ),
        click.option(
            "--web",
            metavar="HOST:PORT",
            help="Show what goes on as a page, at http://HOST:PORT/; it changes nothing.",
        ),
    ):
        command = option(command)
    return command


class PageOptions:
    """What is to be shown where.

    Attributes
    ----------
    snapshot_every_s : float
        How often the router has to make a snapshot; infinity if nothing is to be shown.

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
        from cim_hal.watch.poller import Poller
        from cim_hal.watch.sources import LocalSource

        if self._web:
            status_page = StatusPage()
            source = LocalSource(router.endpoint, lambda: router.snapshot)
            page = stack.enter_context(PageServer(self._web, status_page.pages))
            stack.enter_context(Poller(source, every_s=EVERY_S, on_snapshot=status_page.update))
            click.echo(f"page at {page.url}", err=True)
        if self._metrics:
            pages = metrics_pages(lambda: router.snapshot and router.snapshot.metrics)
            page = stack.enter_context(PageServer(self._metrics, pages))
            click.echo(f"metrics at {page.url}metrics", err=True)
