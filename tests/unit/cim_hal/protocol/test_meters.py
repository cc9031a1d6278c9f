from __future__ import annotations

import re
from pathlib import Path

import pytest

from cim_hal.protocol.monitoring.counters import METRICS, Counters
from cim_hal.protocol.wire.messages.status import MetricsReport

PAGE = (Path(__file__).parents[4] / "docs/reference/metrics.md").read_text(encoding="utf-8")


def _report(meters: Counters) -> MetricsReport:
    return MetricsReport(uptime_s=1.0, meters=meters.readings())


def test_counters_add_up_by_label():
    meters = Counters()
    meters.count("jobs_total", "done", by=2)
    meters.count("jobs_total", "failed")
    report = _report(meters)
    assert report.value("jobs_total") == 3.0
    assert report.value("jobs_total", end="done") == 2.0
    assert report.value("jobs_total", end="cancelled") == 0.0


def test_a_gauge_is_what_it_was_set_to_last():
    meters = Counters()
    meters.set("memory_bytes", 5.0, "server")
    meters.set("memory_bytes", 3.0, "server")
    assert _report(meters).value("memory_bytes", process="server") == 3.0


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (1e-4, 0), (2e-4, 1), (1e9, -1)])
def test_an_observation_falls_into_one_bucket_up_to_its_bound(seconds, bucket):
    meters = Counters()
    meters.observe("run_seconds", seconds)
    (reading,) = [each for each in meters.readings() if each.name == "run_seconds"]
    (((), total, counts),) = reading.series
    assert (total, sum(counts), counts[bucket]) == (seconds, 1, 1)
    assert len(counts) == len(reading.bounds) + 1


def test_what_was_never_counted_is_there_and_zero():
    report = _report(Counters())
    for name, meter in METRICS.items():
        (reading,) = [each for each in report.meters if each.name == name]
        assert len(reading.series) == (0 if meter.labels else 1)
        assert report.value(name) == 0.0


def test_the_names_are_those_of_the_manual():
    rows = re.findall(r"^\| `cim_hal_(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert found.pop("uptime_seconds") == ("gauge", ())
    assert found == {name: (meter.kind, meter.labels) for name, meter in METRICS.items()}
