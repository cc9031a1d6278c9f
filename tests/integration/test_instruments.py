"""Telemetry and calibrations of a machine behind a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from cim_machines import Laboratory

from cim_hal import (
    Calibration,
    IsingModel,
    JobCancelledError,
    JobTimeoutError,
    LoopbackTransport,
    Reading,
    StopToken,
    Telemetry,
    TransportError,
    open_device,
    open_device_async,
)
from cim_hal.errors import CalibrationError, CapabilityError, InterlockError
from cim_hal.server.storage.spool import CalibrationStore
from cim_hal.testing import TcpProxy

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


class Demanding(Laboratory):
    def describe(self):
        return super().describe().model_copy(update={"needs_calibration": True})


class Slow(Laboratory):
    def calibrate(self, stop: StopToken) -> Calibration:
        self.calls.append("started")
        while not stop.is_set():
            time.sleep(0.01)
        self.calls.append("stopped")
        raise JobCancelledError("stopped while calibrating")


def _sample_on(device) -> None:
    for _ in range(1000):
        device.sample(PAIR)
        time.sleep(0.01)


@pytest.mark.parametrize("transport", [lambda driver: driver, LoopbackTransport])
def test_a_result_names_the_calibration_that_stood_when_it_ran(transport):
    driver = Demanding()
    with open_device(transport(driver)) as device:
        with pytest.raises(CalibrationError):
            device.sample(PAIR)
        made = device.calibrate()
        assert made.is_current
        samples = device.sample(PAIR)
        assert samples.record.calibration == made.fingerprint == made.calibration.fingerprint
        assert device.calibration(samples.record.calibration).calibration == made.calibration
        assert [entry.fingerprint for entry in device.calibrations()] == [made.fingerprint]
        assert driver.seen[-1].calibration == made.calibration


def test_telemetry_comes_over_the_wire_and_has_a_history(serving):
    driver = Laboratory()
    with serving(driver) as endpoint, open_device(endpoint) as device:
        device.sample(PAIR)
        deadline = time.monotonic() + 60
        while (history := device.history()).newest < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        status = device.telemetry()
        assert status.driver.phase == "ready"
        assert status.telemetry["pump_power"].unit == "mW"
        assert status.telemetry["runs"].value == 1
        assert len(history.telemetry) == history.newest >= 4
        assert device.history(after=history.newest - 1).telemetry[0] == history.telemetry[-1]


def test_an_interlock_that_opens_stops_jobs_and_one_that_closes_lets_them(serving):
    driver = Laboratory()
    with serving(driver) as endpoint, open_device(endpoint) as device:
        device.sample(PAIR)
        driver.lid = False
        with pytest.raises(InterlockError, match="lid"):
            _sample_on(device)
        runs = driver.calls.count("run")
        driver.lid = True
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                device.sample(PAIR)
                break
            except InterlockError:
                time.sleep(0.05)
        assert driver.calls.count("run") == runs + 1


def test_couplings_are_programmed_once_for_all_samples_of_a_model(serving):
    driver = Laboratory()
    with serving(driver) as endpoint, open_device(endpoint) as device:
        for seed in range(5):
            device.sample(PAIR, seed=seed)
        device.sample(IsingModel.from_couplings([[0, -1], [-1, 0]]))
    assert [call for call in driver.calls if call != "safe"] == [
        "describe", "program", *["run"] * 5, "program", "run", "close",
    ]  # fmt: skip


def test_who_gives_up_a_calibration_ends_it():
    driver = Slow()
    with open_device(driver) as device:
        with pytest.raises(JobTimeoutError):
            device.calibrate(timeout_s=1.0)
        device.sample(PAIR)
        assert driver.calls.index("stopped") < driver.calls.index("program")


def test_a_machine_that_cannot_calibrate_says_so():
    with open_device("emulator") as device, pytest.raises(CapabilityError, match="calibration"):
        device.calibrate()


def test_without_keys_anybody_may_look_and_calibrate(serving):
    with serving(Laboratory()) as endpoint, open_device(endpoint) as device:
        assert device.telemetry().calibration is None
        device.calibrate()
        assert device.telemetry().calibration is not None


def test_a_calibration_waits_for_the_running_job():
    driver = Laboratory()
    with open_device(driver) as device:
        job = device.submit(PAIR, n_runs=1000)
        made = threading.Thread(target=device.calibrate)
        made.start()
        job.result()
        made.join()
    assert driver.calls.index("run") < driver.calls.index("calibrate")


def test_a_calibration_outlasts_the_server(tmp_path, serving):
    store = CalibrationStore(tmp_path)
    store.keep(Calibration(valid_s=1e9, threshold_w=0.5))
    with serving(Demanding(), calibrations=store) as endpoint, open_device(endpoint) as device:
        samples = device.sample(PAIR)
        assert device.calibration().calibration.threshold_w == 0.5
        assert samples.record.calibration == device.telemetry().calibration


def test_an_event_loop_has_all_of_it(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            made = await device.calibrate(timeout_s=20.0)
            while (history := await device.history()).newest < 2:
                await asyncio.sleep(0.1)
            status = await device.telemetry()
            assert status.calibration == made.fingerprint
            assert status.telemetry["pump_power"].unit == "mW"
            assert history.telemetry[0].interlocks == {"lid": True, "laser": True}
            later = await device.history(after=history.newest - 1)
            assert later.telemetry[0] == history.telemetry[-1]
            for found in (await device.calibration(), await device.calibration(made.fingerprint)):
                assert found.calibration == made.calibration
            assert [e.fingerprint for e in await device.calibrations()] == [made.fingerprint]

    with serving(Laboratory()) as endpoint:
        asyncio.run(main(endpoint))


def test_a_task_that_is_cancelled_cancels_its_calibration(serving):
    driver = Slow()

    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            calibrating = asyncio.create_task(device.calibrate())
            while "started" not in driver.calls:
                await asyncio.sleep(0.01)
            calibrating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calibrating
            with pytest.raises(JobTimeoutError):  # the machine is free for another one
                await device.calibrate(timeout_s=1.0)

    with serving(driver) as endpoint:
        asyncio.run(main(endpoint))
    assert driver.calls.count("stopped") == 2


@pytest.mark.parametrize("name", ["telemetry", "history", "calibration", "calibrations"])
def test_a_server_that_is_silent_is_not_waited_for_longer_than_was_said(serving, name):
    with (
        serving(Laboratory()) as endpoint,
        TcpProxy(endpoint) as proxy,
        open_device(proxy.endpoint, timeout_s=30.0) as device,
    ):
        device.ping()
        with proxy.hold():
            began = time.monotonic()
            with pytest.raises(TransportError):
                getattr(device, name)(timeout_s=0.3)
            assert time.monotonic() - began < 5.0  # 0.3 s on a machine that is not busy


# ---- the commands ---------------------------------------------------------------------------


def test_status_and_calibrate_print_json_and_tables(run):
    status, out, err = run("calibrate", "cim_machines:Laboratory", "--json")
    assert status == 0, err
    record = json.loads(out)
    assert record["calibration"]["facts"] == {"gain": 3, "by": "hand"}
    assert "0.012" in run("calibrate", "cim_machines:Laboratory")[1]


def test_status_says_what_the_driver_reports(serving, run):
    with serving(Laboratory()) as endpoint:
        with open_device(endpoint) as device:
            device.sample(PAIR)
        found = json.loads(run("status", endpoint, "--json")[1])
        out = run("status", endpoint)[1]
    assert found["driver"]["phase"] == "ready"
    assert found["telemetry"]["interlocks"] == {"lid": True, "laser": True}
    for word in ("12.5 mW", "locked", "closed", "none", "ready"):
        assert word in out


class Numberless(Laboratory):
    """A thermometer whose cable is off."""

    number = float("nan")

    def status(self):
        reading = Reading(name="cryostat", value=self.number, unit="K")
        return Telemetry(readings=(reading,), interlocks={"lid": True})


def _strictly(text: str):
    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_reading_without_a_number_stops_nothing_and_is_shown_as_it_is(serving, run, number):
    driver = Numberless()
    driver.number = number
    with serving(driver) as endpoint:
        with open_device(endpoint) as device:
            assert device.sample(PAIR).best_energy == -1.0
            assert device.calibrate().is_current
            assert str(device.telemetry().telemetry["cryostat"].value) == str(number)
            assert str(device.history().telemetry[0]["cryostat"].value) == str(number)
            assert str(device.metrics().value("reading", reading="cryostat")) == str(number)
            assert device.metrics().value("driver_ready") == 1.0
        assert f"{number:g} K" in run("status", endpoint)[1]
        shown = _strictly(run("status", endpoint, "--json")[1])
        assert shown["telemetry"]["readings"][0]["value"] == str(number)
        seen = _strictly(run("monitor", endpoint, "--once", "--json")[1])
        assert seen["status"]["machine"]["telemetry"]["readings"][0]["value"] == str(number)
        assert "cryostat" in run("monitor", endpoint, "--once")[1]
