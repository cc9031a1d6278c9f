"""The pages of a server: its status, for people, and its metrics, for Prometheus."""

from __future__ import annotations

import base64
import hashlib
import json
from http import HTTPStatus
from importlib.resources import files
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING

from cim_hal.errors import TargetError
from cim_hal.protocol.monitoring import METRICS
from cim_hal.watch.http import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from cim_hal.protocol.wire.messages.status import MetricReading, MetricsReport
    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.watch.poller import History

__all__ = ["PREFIX", "StatusPage", "exposition", "metrics_pages", "require_prometheus"]

PREFIX = "cim_hal_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

EARLY = Page("nothing is known yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


class StatusPage:
    """The status page and its data, made once for each snapshot and not for each reader."""

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


def metrics_pages(latest: Callable[[], MetricsReport | None]) -> Mapping[str, Callable[[], Page]]:
    """Return the page of the metrics; needs the extra ``metrics``."""

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


# ---- metrics for Prometheus ---------------------------------------------------------------


def require_prometheus() -> None:
    """Raise `TargetError` unless the extra is installed."""
    if find_spec("prometheus_client") is None:
        raise TargetError(
            "metrics for Prometheus need another package", hint='pip install "cim-hal[metrics]"'
        )


def exposition(report: MetricsReport) -> str:
    """Return metrics in the text format of Prometheus, version 0.0.4; needs the extra."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Reported(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(report)

    registry = CollectorRegistry()
    registry.register(Reported())
    return generate_latest(registry).decode("utf-8")


def _families(report: MetricsReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    uptime = "Seconds since the server started."
    yield GaugeMetricFamily(f"{PREFIX}uptime_seconds", uptime, value=report.uptime_s)
    for reading in report.meters:
        yield _family(reading)


def _family(reading: MetricReading) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    known = METRICS.get(reading.name)  # a newer server may have more
    name, text = PREFIX + reading.name, known.help if known else reading.name
    if reading.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=reading.labels)
        bounds = [*map(repr, reading.bounds), "+Inf"]
        for labels, total, counts in reading.series:
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, total)
        return histogram
    family = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    simple = family(name, text, labels=reading.labels)
    for labels, value, _ in reading.series:
        simple.add_metric(labels, value)
    return simple
