from __future__ import annotations

import pytest

from cim_hal.protocol.monitoring import METRICS, SECONDS, Counters
from cim_hal.protocol.wire.messages.status import MetricReading, MetricsReport
from cim_hal.watch.pages import exposition

parser = pytest.importorskip("prometheus_client.parser", reason="the extra metrics is missing")


def _read(report: MetricsReport) -> dict[tuple[str, frozenset], float]:
    families = parser.text_string_to_metric_families(exposition(report))
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples}


def test_prometheus_reads_what_was_counted():
    meters = Counters()
    meters.count("requests_total", "ping", "ok", by=3)
    meters.set("queue_depth", 2)
    for seconds in (0.002, 0.02, 5.0, 1e6):
        meters.observe("run_seconds", seconds)
    found = _read(MetricsReport(uptime_s=7.5, meters=meters.readings()))
    labels = frozenset({("type", "ping"), ("outcome", "ok")})
    assert found["cim_hal_requests_total", labels] == 3.0
    assert found["cim_hal_queue_depth", frozenset()] == 2.0
    assert found["cim_hal_uptime_seconds", frozenset()] == 7.5
    assert found["cim_hal_run_seconds_count", frozenset()] == 4.0
    assert found["cim_hal_run_seconds_sum", frozenset()] == pytest.approx(1e6 + 5.022)
    buckets = [
        found["cim_hal_run_seconds_bucket", frozenset({("le", repr(bound))})] for bound in SECONDS
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3.0
    assert found["cim_hal_run_seconds_bucket", frozenset({("le", "+Inf")})] == 4.0


def test_every_meter_is_there_from_the_start():
    text = exposition(MetricsReport(uptime_s=0.0, meters=Counters().readings()))
    for name, meter in METRICS.items():
        assert f"# HELP cim_hal_{name} {meter.help}" in text
        assert f"# TYPE cim_hal_{name} {meter.kind}" in text


def test_what_only_a_newer_server_counts_is_shown_as_well():
    new = MetricReading(name="mirrors", kind="gauge", series=(((), 4.0, ()),))
    assert "cim_hal_mirrors 4.0" in exposition(MetricsReport(uptime_s=0.0, meters=(new,)))


def test_a_label_cannot_break_out():
    meters = Counters()
    meters.count("requests_total", 'a"} 1\nevil 2', "ok")
    text = exposition(MetricsReport(uptime_s=0.0, meters=meters.readings()))
    assert "\nevil" not in text
