"""The pictures of the monitor in the docs: a real server, three users, real jobs.

Run with ``python benchmarks/picture_monitor.py --out docs/_static``; it takes a minute and a
browser (Chromium).
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from chromium import Browser, find_browser

from cim_hal import CimError, IsingModel, PumpSchedule, open_device
from cim_hal.key_files import create_key, read_public
from cim_hal.server.security.authenticator import Client, authorize
from cim_hal.watch.poller import History, server_snapshots
from cim_hal.watch.screen import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = ("alice", "bob", "chen")
FAULTS = '[[fault]]\nkind = "lost_lock"\nevery = 7\nat = 0.6\n'
FONT_FROM_ELSEWHERE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
N_COLOURS = 256
WINDOWS = {
    "web-light": (1180, 1100, False),
    "web-dark": (1180, 1100, True),
    "web-phone": (390, 844, False),
}


def glass(n: int, seed: int) -> IsingModel:
    rng = np.random.default_rng(seed)
    J = np.triu(rng.choice([-1.0, 1.0], (n, n)), 1)
    return IsingModel.from_couplings(J + J.T)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve with keys for everybody, in a process; yield its endpoint and its page."""
    for name in ("server", *USERS):
        create_key(name, folder)
        if name != "server":
            key = read_public(folder / f"{name}.pub")
            authorize(folder / "authorized.toml", Client(name=name, key=key, role="user"))
    (folder / "faults.toml").write_text(FAULTS)
    command = [sys.executable, "-m", "cim_hal.cli", "serve", "emulated_bench:EmulatedBench"]
    command += ["--key", f"{folder}/server.key", "--authorized", f"{folder}/authorized.toml"]
    command += ["--faults", f"{folder}/faults.toml", "--web", "127.0.0.1:0", "--no-journal"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stderr
        endpoint = process.stdout.readline().split()[-1]
        page = next(line for line in process.stderr if line.startswith("page at")).split()[-1]
        try:
            yield endpoint, page
        finally:
            process.terminate()


def work(endpoint: str, keys: dict[str, str], number: int, ended: threading.Event) -> None:
    """Submit jobs of several sizes, as a user would, a few at a time."""
    rng = np.random.default_rng(number)
    with open_device(endpoint, timeout_s=30.0, **keys) as device:
        while not ended.is_set():
            n, trips = int(rng.choice([100, 200, 400])), int(rng.choice([500, 1000, 2000]))
            model, runs = glass(n, int(rng.integers(3))), int(rng.choice([16, 32]))
            schedule = PumpSchedule.linear(0.0, 1.5, round_trips=trips)
            jobs = [device.submit(model, schedule, n_runs=runs) for _ in range(3)]
            for job in jobs:
                try:
                    job.result()
                except CimError as error:
                    print(f"{USERS[number]}: {error}", file=sys.stderr)
            ended.wait(float(rng.uniform(0.0, 1.0)))


def screens(endpoint: str, keys: dict[str, str], seconds: float, out: Path) -> None:
    """Look for a while, then write the screen at two sizes."""
    source, history = server_snapshots(endpoint, **keys), History()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        snapshot = next(source)
        history.add(snapshot)
        time.sleep(1.0)
    while (snapshot := next(source)).status and not (snapshot.status and snapshot.status.running):
        time.sleep(0.05)
    source.close()
    width, height = 104, 32
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=width, height=height, record=True, file=nowhere)
        console.print(draw(snapshot, history, width=width, height=height), height=height)
        svg = console.export_svg(title=f"cim-hal monitor {endpoint}", unique_id="monitor")
        (out / "monitor.svg").write_text(FONT_FROM_ELSEWHERE.sub("", svg))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/_static"))
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    browser_path = find_browser()
    if browser_path is None:
        sys.exit("no browser: install chromium")
    ended = threading.Event()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint, page = stack.enter_context(serving(folder))
        all_keys = [
            {"key": f"{folder}/{name}.key", "server_key": f"{folder}/server.pub"} for name in USERS
        ]
        threads = [
            threading.Thread(target=work, args=(endpoint, keys, number, ended))
            for number, keys in enumerate(all_keys)
        ]
        with open_device(endpoint, timeout_s=30.0, **all_keys[0]) as device:
            device.sample(glass(400, 0), n_runs=16)  # the emulator compiles at its first job
        for thread in threads:
            thread.start()
        stack.callback(lambda: [thread.join() for thread in threads])
        stack.callback(ended.set)
        screens(endpoint, all_keys[0], arguments.seconds, arguments.out)
        browser = stack.enter_context(Browser(browser_path))
        for name, (width, height, dark) in WINDOWS.items():
            browser.look(width, height, dark=dark)
            browser.visit(f"{page}?{secrets.token_hex(2)}")
            browser.wait_for("document.querySelector('#running strong') !== null", seconds=60.0)
            path = arguments.out / f"{name}.png"
            browser.picture(path)
            Image.open(path).convert("RGB").quantize(N_COLOURS).save(path, optimize=True)
        print(browser.errors or "no complaints of the browser")


if __name__ == "__main__":
    main()
