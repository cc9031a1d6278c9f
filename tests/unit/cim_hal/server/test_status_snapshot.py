from __future__ import annotations

from cim_hal.protocol.wire.messages.status import MetricsReport, StatusReport, Throughput
from cim_hal.server.status_snapshot import StatusSnapshot

STATUS = StatusReport(
    device="bench",
    software="1",
    instance="0" * 32,
    uptime_s=5.0,
    state="idle",
    queued=0,
    n_sessions=0,
    throughput=Throughput(bucket_s=5.0),
)
METRICS = MetricsReport(uptime_s=5.0, meters=())
FIRST = StatusSnapshot("tcp://lab:5555", STATUS, METRICS, taken_at=1.0)
LOST = StatusSnapshot("tcp://lab:5555", trouble="nobody answers", taken_at=2.0)


def test_trouble_keeps_the_last_reports_and_is_newer_than_they_are():
    shown = LOST.after(FIRST)
    assert (shown.status, shown.metrics) == (STATUS, METRICS)
    assert (shown.trouble, shown.taken_at) == ("nobody answers", 2.0)


def test_a_report_takes_the_place_of_the_one_before():
    assert FIRST.after(LOST) is FIRST
    assert LOST.after(None) is LOST


def test_json_has_the_reports_or_null():
    assert FIRST.as_json()["status"] == STATUS.model_dump(mode="json")
    assert FIRST.as_json()["metrics"] == {"t": "metrics.report", "uptime_s": 5.0, "meters": []}
    assert LOST.as_json() == {
        "target": "tcp://lab:5555",
        "trouble": "nobody answers",
        "status": None,
        "metrics": None,
    }
