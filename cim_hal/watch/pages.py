"""The pages of a server: what was counted, for Prometheus."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from cim_hal.watch.exposition import CONTENT_TYPE, exposition
from cim_hal.watch.http import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cim_hal.server.board import Posted

__all__ = ["metrics_pages"]

EARLY = Page("nothing is known yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


def metrics_pages(latest: Callable[[], Posted | None]) -> Mapping[str, Callable[[], Page]]:
    """Return the pages of a server of metrics."""

    def metrics() -> Page:
        posted = latest()
        return EARLY if posted is None else Page(exposition(posted.metrics), CONTENT_TYPE)

    return {
        "/": lambda: Page("see /metrics\n"),
        "/metrics": metrics,
    }
