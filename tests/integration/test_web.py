"""The page, in a real browser, of real servers."""

from __future__ import annotations

import json
import signal
from urllib.request import urlopen

import pytest
from chromium import Browser, find_browser

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.client.transport.zmq import ZmqTransport
from cim_hal.protocol.wire.messages import Hello
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def _browser():
    path = find_browser()
    if path is None:
        pytest.skip("there is no browser here (chromium), so nobody looks at the page")
    with Browser(path) as browser:
        yield browser


@pytest.fixture
def browser(page, _browser):
    """A browser that goes away before the server of its page does, and starts without errors."""
    _browser.errors.clear()
    yield _browser
    _browser.visit("about:blank")
    _browser.wait_for("location.href === 'about:blank'")


@pytest.fixture
def page(cim_hal):
    """A server that shows a page, as a process; its endpoint and the page."""

    def start(*arguments: str) -> tuple[str, str]:
        process = cim_hal("serve", *arguments, "--web", "127.0.0.1:0")
        url = process.stderr.readline().split()[-1]
        return process.stdout.readline().split()[-1], url

    return start


def test_the_data_of_the_page_say_what_the_server_says(page):
    endpoint, url = page("cim_machines:Annealer")
    with open_device(endpoint) as device:
        device.sample(PAIR, n_runs=3)
    while True:
        with urlopen(f"{url}status.json", timeout=10) as answer:
            known = json.load(answer)
        if known["status"] and known["status"]["ended"] == {"done": 1}:
            break
    assert (known["target"], known["trouble"]) == (endpoint, "")
    assert known["status"]["device"] == "annealer"


@pytest.mark.slow
def test_a_person_sees_a_job_come_run_and_end(page, browser):
    endpoint, url = page("cim_machines:Patient")
    browser.look(1200, 900)
    browser.visit(url)
    browser.wait_for("document.title.startsWith('patient')")
    browser.wait_for("document.querySelector('#state').textContent === 'idle'")
    with open_device(endpoint) as device:
        job, waiting = device.submit(PAIR, LONG), device.submit(PAIR, LONG)
        browser.wait_for(f"document.querySelector('#running').innerText.includes('{job.id[:8]}')")
        browser.wait_for(f"document.querySelector('#queue').innerText.includes('{waiting.id[:8]}')")
        assert "anonymous" in browser.value("document.querySelector('#sessions').innerText")
        waiting.cancel()
        job.cancel()
        browser.wait_for("document.querySelectorAll('#recent .cancelled').length === 2")
    browser.wait_for("document.querySelector('#sessions').innerText.includes('none')")
    assert browser.errors == []


@pytest.mark.slow
def test_it_is_readable_on_a_phone_and_in_the_dark(page, browser, tmp_path):
    _, url = page("cim_machines:Annealer")
    seen = {}
    for width, dark in ((360, False), (1200, True)):
        browser.look(width, 800, dark=dark)
        browser.visit(url)
        browser.wait_for("document.querySelector('#device').textContent === 'annealer'")
        assert browser.value("document.documentElement.scrollWidth") <= width
        seen[dark] = browser.value("getComputedStyle(document.body).backgroundColor")
        picture = tmp_path / f"{width}.png"
        browser.picture(picture)
        assert picture.read_bytes().startswith(b"\x89PNG")
    bright = {dark: sum(map(int, color[4:-1].split(","))) for dark, color in seen.items()}
    assert bright[False] > 600
    assert bright[True] < 150
    assert browser.errors == []


@pytest.mark.slow
def test_text_of_others_is_text(page, browser):
    endpoint, url = page("cim_machines:Annealer")
    transport = ZmqTransport(endpoint)
    hello = Hello(protocols=(OLDEST, NEWEST), client=EVIL)
    transport.exchange(Packet(Kind.REQUEST, bytes(ID_BYTES), hello), timeout_s=5.0)
    browser.look(1200, 900)
    browser.visit(url)
    browser.wait_for("document.querySelector('#sessions').innerText.includes('<img src=x')")
    assert "owned" not in browser.value("document.title")
    assert browser.value("document.querySelectorAll('img').length") == 0
    transport.close()
    assert browser.errors == []


@pytest.mark.slow
def test_a_server_that_ends_is_told_apart_from_one_that_idles(serving, cim_hal, browser):
    from cim_machines import Annealer

    with serving(Annealer()) as endpoint:
        process = cim_hal("monitor", endpoint, "--web", "127.0.0.1:0", "--every", "0.2")
        url = process.stdout.readline().split()[-1]
        browser.look(1200, 900)
        browser.visit(url)
        browser.wait_for("document.querySelector('#state').textContent === 'idle'")
    browser.wait_for("document.querySelector('#state').textContent === 'no connection'")
    assert not browser.value("document.querySelector('#trouble').hidden")
    assert browser.value("document.querySelector('#device').textContent") == "annealer"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    browser.wait_for("document.querySelector('#trouble').textContent.includes('nothing was heard')")
