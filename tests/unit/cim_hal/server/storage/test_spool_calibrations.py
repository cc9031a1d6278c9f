"""Calibrations outlast their server."""

from __future__ import annotations

import json

import pytest

from cim_hal import Calibration
from cim_hal.errors import TargetError
from cim_hal.server.storage.spool import CalibrationStore

RECORDS = [Calibration(valid_s=60.0, facts={"n": n}, taken_at=1e9 + n) for n in range(3)]


def test_what_is_kept_is_read_oldest_first(tmp_path):
    store = CalibrationStore(tmp_path / "deep" / "folder")
    for record in reversed(RECORDS):
        store.keep(record)
    assert CalibrationStore(tmp_path / "deep" / "folder").read() == RECORDS
    assert not list(tmp_path.rglob(".*.json.*"))


def test_a_file_that_holds_no_record_or_another_is_left_and_logged(tmp_path, caplog):
    store = CalibrationStore(tmp_path)
    for record in RECORDS:
        store.keep(record)
    torn, forged, _ = sorted(tmp_path.glob("*.json"))
    torn.write_text("{")
    forged.write_text(json.dumps({"valid_s": 1e9, "taken_at": 1e9 + 1}))
    assert store.read() == RECORDS[2:]
    assert len(caplog.records) == 2
    assert torn.exists()


def test_a_disk_that_does_not_take_a_record_is_logged_and_nothing_more(tmp_path, caplog):
    store = CalibrationStore(tmp_path / "folder")
    (tmp_path / "folder").rmdir()
    store.keep(RECORDS[0])
    assert "could not be written" in caplog.text


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="cannot make the folder"):
        CalibrationStore(tmp_path / "file" / "folder")
