"""The pages of a server: its status, for people, and its metrics, for Prometheus."""

from __future__ import annotations

import base64
import hashlib
import json
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING

from cim_hal.watch.http import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cim_hal.protocol.wire.messages.status import MetricsReport
    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.watch.poller import History

__all__ = ["StatusPage", "metrics_pages"]

EARLY = Page("nothing is known yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


class StatusPage:
    """The status page and its data, which is made once for each snapshot and not for each reader.

    Attributes
    ----------
    pages : mapping of str to callable
        For a `PageServer`.
    """

    def __init__(self) -> None:
        self._page = _page()
        self._status = EARLY
        self.pages: Mapping[str, Callable[[], Page]] = {
            "/": lambda: self._page,
            "/status.json": lambda: self._status,
        }

    def update(self, snapshot: StatusSnapshot, history: History) -> None:
        """Show a snapshot."""
        known = snapshot.as_json() | {"history": history.as_json()}
        self._status = Page(json.dumps(known), "application/json; charset=utf-8")


def metrics_pages(
    latest: Callable[[], MetricsReport | None],
) -> Mapping[str, Callable[[], Page]]:
    """Return the page of the metrics; needs the extra ``metrics``."""
    from cim_hal.watch.exposition import CONTENT_TYPE, exposition

    def metrics() -> Page:
        report = latest()
        return EARLY if report is None else Page(exposition(report), CONTENT_TYPE)

    return {"/": lambda: Page("see /metrics\n"), "/metrics": metrics}


def _page() -> Page:
    """Return the page with its style and script; its policy allows the browser no others."""
    folder = files("cim_hal.watch") / "page"
    html, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    text = html.replace("/* style */", style).replace("/* script */", script)
    return Page(text, "text/html; charset=utf-8", policy)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
