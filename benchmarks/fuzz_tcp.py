"""Bytes of strangers by the million, at every port of a server, while a client measures its pings.

    python benchmarks/fuzz_tcp.py --strings 1000000 --seed 0

Listeners: the request socket of `cim-hal serve` without keys and with keys, its web page and its
metrics, and the two proxies of `cim-hal chaos` in front of it. Each server is a process of its own.
Prints one line for each listener; ends with an error where a server ended, logged an error, or
answered no ping. A control without strangers is measured in the same way before each listener.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from user_keys import make_keys

from cim_hal import open_device

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join(map(str, (ROOT / "tests/support", ROOT)))
PING_EVERY_S = 0.005
WORKERS = 2


@contextmanager
def process(*arguments: str) -> Iterator[list[str]]:
    """Start a Python process; yield the words that it says about itself, ended by a line."""
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed below
    started = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=os.environ | {"PYTHONPATH": PATHS},
    )
    try:
        ready = started.stdout.readline() if started.stdout else ""
        errors.seek(0)
        yield [*ready.split(), *errors.read().split()]
        if started.poll() is not None:
            sys.exit(f"{arguments} ended with {started.poll()}")
    finally:
        started.terminate()
        started.wait(30)
        errors.seek(0)
        text = errors.read()
        errors.close()
    if "ERROR" in text or "Traceback" in text:
        sys.exit(text[-5000:])


class Pinger:
    """A client that describes a machine again and again, and how long each answer took."""

    def __init__(self, endpoint: str, keys: dict[str, Path]) -> None:
        self.seconds: list[float] = []
        self._endpoint, self._keys = endpoint, keys
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def _loop(self) -> None:
        with open_device(self._endpoint, timeout_s=20.0, **self._keys) as session:
            while not self._is_over.wait(PING_EVERY_S):
                began = time.perf_counter()
                session.describe()
                self.seconds.append(time.perf_counter() - began)

    def __enter__(self) -> Pinger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def words(self) -> str:
        """Return median, 99 % and worst, in milliseconds."""
        if not self.seconds:
            sys.exit("no ping was answered")
        half, most, worst = 1e3 * np.quantile(self.seconds, (0.5, 0.99, 1.0))
        return f"p50 {half:.2f} p99 {most:.2f} worst {worst:.1f} ms, {len(self.seconds)} pings"


KNOCKER = """
import itertools, random, sys
from cim_port_scan import byte_strings, knock
host, port, n, seed = sys.argv[1], *map(int, sys.argv[2:])
rng, texts = random.Random(seed), itertools.islice(byte_strings(seed), n)
print(sum(knock((host, port), text, rng) for text in texts))
"""


def scan(address: tuple[str, int], n: int, seed: int) -> int:
    """Let strangers knock from processes of their own; return how many were let in."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", KNOCKER, *map(str, (*address, n // WORKERS, seed + number))],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": PATHS},
        )
        for number in range(WORKERS)
    ]
    return sum(int(worker.communicate()[0]) for worker in workers)


PROXY = """
import sys, time
from cim_hal.testing import MessageProxy
with MessageProxy(sys.argv[1]) as proxy:
    print(proxy.endpoint, flush=True)
    time.sleep(1e6)
"""


def attack(
    name: str, url: str, n: int, seed: int, *, endpoint: str, keys: dict[str, Path] | None = None
) -> None:
    """Measure pings without and with strangers at a listener."""
    keys = keys or {}
    host, _, port = url.partition("://")[2].rstrip("/").rpartition(":")
    with Pinger(endpoint, keys) as control:
        time.sleep(min(5.0, 1.0 + n / 1e4))
    began = time.perf_counter()
    with Pinger(endpoint, keys) as pinger:
        n_in = scan((host, int(port.partition("/")[0])), n, seed)
    seconds = time.perf_counter() - began
    print(f"{name}: {n} strings, {n_in} let in, {seconds:.0f} s; {pinger.words()}")
    print(f"    control: {control.words()}", flush=True)


def main() -> None:
    """Attack one listener after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n, seeds = options.strings // 6, itertools.count(options.seed, WORKERS)
    cli = ("-m", "cim_hal.cli")
    serve = (*cli, "serve", "cim_machines:Annealer", "--no-journal", "--in-process")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        make_keys(folder, {"alice": "user"})
        pages = ("--web", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
        said = stack.enter_context(process(*serve, *pages))
        endpoint = next(word for word in said if word.startswith("tcp://"))
        web, metrics = (word for word in said if word.startswith("http://"))
        keyed = ("--key", f"{folder}/server.key", "--authorized", f"{folder}/authorized.toml")
        secure = stack.enter_context(process(*serve, *keyed))[-1]
        keys = {"key": folder / "alice.key", "server_key": folder / "server.pub"}
        tcp = stack.enter_context(process(*cli, "chaos", "--target", endpoint))[-1]
        messages = stack.enter_context(process("-c", PROXY, endpoint))[-1]
        attack("requests, no keys", endpoint, n, next(seeds), endpoint=endpoint)
        attack("requests, keys", secure, n, next(seeds), endpoint=secure, keys=keys)
        attack("web page", web, n, next(seeds), endpoint=endpoint)
        attack("metrics", metrics, n, next(seeds), endpoint=endpoint)
        attack("chaos proxy of bytes", tcp, n, next(seeds), endpoint=tcp)
        attack("chaos proxy of messages", messages, n, next(seeds), endpoint=messages)


if __name__ == "__main__":
    main()
