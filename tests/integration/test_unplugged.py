"""An instrument that is cut off and comes back: health follows from what happens, by itself."""

from __future__ import annotations

import json
import threading
import time

import pytest
from driver_processes import PAIR, QUICK, wait_for
from tcp_instrument import ADDRESS, Instrument, TcpDriver

from cim_hal import JobCancelledError, LoopbackTransport, PumpSchedule, open_device
from cim_hal.client.options import Retries
from cim_hal.errors import DriverFaultError, InterlockError, UnavailableError
from cim_hal.server.driver.calls import RebuildableDriver
from cim_hal.server.driver.process import DriverProcess

LONG = PumpSchedule.constant(1.0, round_trips=100_000)
AT_ONCE = Retries(limit=0)
TARGETS = {
    "in process": lambda: RebuildableDriver(TcpDriver),
    "driver process": lambda: DriverProcess("tcp_instrument:TcpDriver", options=QUICK),
}


@pytest.fixture
def instrument(tmp_path, monkeypatch) -> Instrument:
    monkeypatch.setenv(ADDRESS, str(tmp_path / "instrument"))
    return Instrument(tmp_path)


@pytest.fixture(params=["in process", pytest.param("driver process", marks=pytest.mark.slow)])
def device(request, instrument):
    with open_device(TARGETS[request.param](), retries=AT_ONCE) as device:
        yield device


def _phase(device) -> str:
    return str(device.telemetry().driver.phase)


@pytest.mark.slow
def test_a_served_instrument_that_is_unplugged_and_plugged_in_serves_again(
    instrument, cim_hal, run, tmp_path
):
    model = tmp_path / "pair.txt"
    model.write_text("2 1\n1 2 -1\n")
    server = cim_hal("serve", "tcp_instrument:TcpDriver", "--bind", "tcp://127.0.0.1:0")
    logged: list[str] = []
    reader = threading.Thread(target=lambda: logged.extend(server.stderr), daemon=True)
    reader.start()
    endpoint = server.stdout.readline().split()[-1]

    def sample() -> tuple[int, str]:
        status, _, err = run("sample", endpoint, "--model", str(model))
        return status, err

    def status() -> dict:
        time.sleep(0.3)
        return json.loads(run("status", endpoint, "--json")[1])

    assert sample()[0] == 0
    assert status()["driver"]["phase"] == "ready"
    instrument.unplug()
    wait_for(lambda: status()["driver"]["phase"] == "broken")
    found = status()
    assert found["telemetry_stale"]
    assert "the driver failed in" in found["driver"]["fault"]
    assert "STALE" in run("status", endpoint)[1]
    status_code, err = sample()
    assert status_code == 1
    assert "broken" in err
    assert status()["driver"]["phase"] == "broken"
    instrument.plug()
    wait_for(lambda: status()["driver"]["phase"] == "ready")
    assert sample()[0] == 0
    found = status()
    assert not found["telemetry_stale"]
    assert found["driver"]["restarts"] >= 1
    server.terminate()
    assert server.wait(60) == 0
    reader.join(10)
    text = "".join(logged)
    assert text.count("the driver is broken") == 1
    assert text.count("the driver works again") == 1
    assert text.count("Traceback") <= 3  # of run, status and safe: once each


def test_a_queued_job_waits_for_the_instrument_and_a_new_one_is_refused_with_the_reason(
    device, instrument
):
    device.sample(PAIR)
    running = device.submit(PAIR, LONG)
    wait_for(lambda: "step" in instrument.heard[-3:])
    waiting = device.submit(PAIR)
    instrument.unplug()
    with pytest.raises(DriverFaultError) as caught:
        running.result(timeout_s=60)
    assert caught.value.retryable
    wait_for(lambda: _phase(device) == "broken")
    with pytest.raises(UnavailableError, match="is broken"):
        device.sample(PAIR)
    time.sleep(0.3)
    assert waiting.state == "queued"
    instrument.plug()
    assert waiting.result(timeout_s=60).best_energy == -1.0
    assert device.sample(PAIR).best_energy == -1.0
    assert _phase(device) == "ready"


def test_a_machine_that_cannot_be_made_safe_gets_no_job_until_it_can(device, instrument):
    job = device.submit(PAIR, LONG)
    wait_for(lambda: "step" in instrument.heard[-3:])
    instrument.refuses = "off"
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(timeout_s=60)
    wait_for(lambda: _phase(device) == "broken")
    n_steps = instrument.heard.count("on")
    with pytest.raises(UnavailableError, match="relay stuck"):
        device.sample(PAIR)
    assert instrument.heard.count("on") == n_steps
    instrument.refuses = ""
    wait_for(lambda: _phase(device) == "ready")
    assert device.sample(PAIR).best_energy == -1.0


def test_a_lid_that_opens_in_a_run_without_a_report_ends_its_job_and_the_laser_is_off(
    device, instrument
):
    job = device.submit(PAIR, PumpSchedule.constant(1.0, round_trips=2000))
    wait_for(lambda: "step" in instrument.heard[-3:])
    instrument.lid = "open"
    with pytest.raises(InterlockError, match="opened"):
        job.result(timeout_s=60)
    assert instrument.laser == "off"
    instrument.lid = "closed"
    wait_for(lambda: not device.telemetry().telemetry.open_interlocks)
    assert device.sample(PAIR).best_energy == -1.0


@pytest.mark.parametrize("transport", [lambda driver: driver, LoopbackTransport])
def test_a_lid_that_a_calibration_reports_open_ends_it(instrument, transport):
    class Telling(TcpDriver):
        def calibrate(self, stop):
            instrument.lid = "open"
            stop.report(self.status())
            return super().calibrate(stop)

    with open_device(transport(Telling()), retries=AT_ONCE) as device:
        with pytest.raises(InterlockError, match="opened"):
            device.calibrate(timeout_s=60.0)
        assert instrument.heard[-1] in {"off", "status"}
        assert instrument.laser == "off"


def test_what_a_driver_reports_from_its_process_stops_the_run_and_keeps_what_was_delivered(
    instrument,
):
    driver = DriverProcess("tcp_instrument:Delivering", options=QUICK)
    with open_device(driver, retries=AT_ONCE) as device:
        job = device.submit(PAIR, n_runs=4)
        batches = job.batches(timeout_s=60.0)
        assert len(next(batches)) == 2
        with pytest.raises(InterlockError, match="opened"):
            next(batches)
        assert instrument.laser == "off"


def test_an_instance_that_connects_again_by_itself_is_healthy_again(instrument):
    class Reconnecting(TcpDriver):
        def _say(self, line: str) -> str:
            try:
                return super()._say(line)
            except (OSError, ValueError):
                self.close()
                self.__init__()
                return super()._say(line)

    with open_device(Reconnecting(), retries=AT_ONCE) as device:
        device.sample(PAIR)
        instrument.unplug()
        wait_for(lambda: _phase(device) == "broken")
        instrument.plug()
        wait_for(lambda: _phase(device) == "ready")
        assert device.sample(PAIR).best_energy == -1.0
