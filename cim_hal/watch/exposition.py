"""Counters in the text format of Prometheus; needs the extra ``metrics``."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING

from cim_hal.errors import TargetError
from cim_hal.protocol.monitoring.counters import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from cim_hal.protocol.wire.messages.status import MetricReading, MetricsReport

__all__ = ["CONTENT_TYPE", "PREFIX", "exposition", "require"]

PREFIX = "cim_hal_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def require() -> None:
    """Check that the extra is installed.

    Raises
    ------
    TargetError
        It is not installed.
    """
    if find_spec("prometheus_client") is None:
        raise TargetError(
            "metrics for Prometheus need another package",
            hint='pip install "cim-hal[metrics]"',
        )


def exposition(report: MetricsReport) -> str:
    """Return the text format, version 0.0.4."""
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
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

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
