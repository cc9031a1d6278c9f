"""Many clients for a long time on a bad network: nothing wrong, nothing lost, nothing that grows.

Run with ``python benchmarks/soak.py --minutes 30``. A server and its driver run in processes of
their own, with a driver that fails now and then; between them and the clients, each a process
too, stands ``cim-hal chaos``: it resets connections and loses, repeats, delays and reorders
messages. Every result is compared with the one that a quiet network gives, which is known
beforehand. Memory and open files of server and driver are sampled.

Under way the memory of a server goes up and down with what it holds for others. So every two
minutes all clients rest, results expire, couplings are dropped, the allocator gives back what is
free, and what is left is the memory *at rest*. Its growth is the Theil-Sen slope after the warm-up,
with its interval of 95 %. The warm-up ends when what is bounded has its full size: keys, which are
remembered for 300 s without a journal. Writes a table, and JSON with ``--out``.

With ``--troubles`` the server has keys and several users, and what `soak_troubles` lists goes wrong
all the while: a slow disk, an instrument that is unplugged, port scans, a user who fills all
tables, and a driver with a helper process that crashes every 400th job. The network resets
connections; it cannot lose messages that are encrypted. The driver is the witness that no job runs
twice.

Exit code 1: something was wrong or lost, ran twice, a process died, or (from ten minutes on) the
memory of the server surely grows by more than 1 MB an hour, and the keys of jobs in a journal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes
from soak_machine import expected
from soak_troubles import OPERATOR, USERS, Troubles

from cim_hal import CimError, DeviceError, IsingModel, open_device
from cim_hal.server.process_usage import memory_bytes, open_files

# spins, runs, and how often: small jobs are many, large ones few
SIZES = ((2, 1, 30), (16, 8, 30), (100, 32, 25), (300, 64, 10), (1000, 32, 4), (1500, 8, 1))
MODELS = 12  # of each size; more than the cache holds of the large ones
TIMEOUT_S = 60.0
SAMPLE_S, PROBE_S = 10.0, 0.1
# A round ends with a rest: long enough for results to expire, and for two trims of the heap.
ROUND_S, REST_S, DROP_S = 120.0, 50.0, 18.0
FAULTS = '[[fault]]\nkind = "lost_lock"\nevery = 97\n\n[[fault]]\nkind = "crash"\nevery = 20000\n'
# So little that what is kept has its full size after a minute.
LIMITS = {"result_s": 15.0, "kept_bytes": 64 << 20, "cache_bytes": 64 << 20, "session_s": 60.0}
CRASHES = FAULTS.replace("20000", "400")
ATTEMPTS = 200  # of a job, while the machine is away
# Bytes of memory for the key of a job, which a server with a journal remembers for a day.
KEY_BYTES = 1000
NETWORK = {
    "--reset-every": 1000, "--drop": 0.001, "--duplicate": 0.002, "--delay": 0.005,
    "--reorder": 0.005, "--latency": 0.0005, "--seed": 1,
}  # fmt: skip
SLOPE_LIMIT_MB_H = 1.0


# ---- a client: a process of its own ---------------------------------------------------------


@dataclass
class Counters:
    """What one client saw."""

    jobs: int = 0
    wrong: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def glass(n: int, number: int) -> np.ndarray:
    rng = np.random.default_rng([n, number])
    J = np.triu(rng.integers(-1, 2, (n, n)), 1)
    return J + J.T


def resting_s(began: float) -> float:
    """Return how long the rest under way still lasts; 0 where clients work."""
    left = ROUND_S - (time.monotonic() - began) % ROUND_S
    return left if left < REST_S else 0.0


def client(
    endpoint: str, number: int, began: float, seconds: float, keys: dict[str, str]
) -> Counters:
    """Submit one job after another, but for the rests, until the time is up."""
    rng, counters, ended = np.random.default_rng(number), Counters(), threading.Event()
    signal.signal(signal.SIGINT, lambda *_: ended.set())  # after the job under way
    weights = np.array([often for *_, often in SIZES], float)
    until = began + seconds
    while time.monotonic() < until and not ended.is_set():
        try:
            with open_device(endpoint, timeout_s=TIMEOUT_S, **keys) as device:
                while time.monotonic() < until and not ended.is_set():
                    if ended.wait(resting_s(began)):
                        break
                    n, n_runs, _ = SIZES[rng.choice(len(SIZES), p=weights / weights.sum())]
                    J = glass(n, int(rng.integers(MODELS)))
                    one_job(device, J, n_runs, lambda: int(rng.integers(2**62)), counters)
        except CimError as error:  # a session that could not be opened: no job was lost with it
            counters.repeated[f"session: {error.code}"] += 1
    return counters


def one_job(
    device: Any, J: np.ndarray, n_runs: int, new_seed: Callable[[], int], counters: Counters
) -> None:
    """Run a job to its end; failures of the machine that invite a repetition are repeated."""
    model, began = IsingModel.from_couplings(J), time.perf_counter()
    for _ in range(ATTEMPTS):
        seed = new_seed()  # no job has that of another, so the driver sees one that runs twice
        try:
            samples = device.sample(model, n_runs=n_runs, seed=seed)
        except DeviceError as error:
            counters.repeated[error.code] += 1
            time.sleep(0.0 if error.code == "device.lock_lost" else 0.2)
            continue
        except CimError as error:
            counters.lost.append(f"{error.code}: {error}")
            return
        counters.jobs += 1
        counters.seconds.append(time.perf_counter() - began)
        counters.wrong += not is_right(samples, J, n_runs, seed)
        return
    counters.lost.append(f"the machine failed {ATTEMPTS} times")


def is_right(samples: Any, J: np.ndarray, n_runs: int, seed: int) -> bool:
    """Whether rows are those expected, each as often, in any order, with their energies."""
    found, wanted = np.asarray(samples.amplitudes), expected(J, seed, n_runs)
    if found.shape != wanted.shape:
        return False
    spins = np.where(found < 0, -1, 1)
    energies = -0.5 * np.einsum("ri,ij,rj->r", spins, J, spins)
    same_rows = np.array_equal(found[np.lexsort(found.T)], wanted[np.lexsort(wanted.T)])
    same_spins = np.array_equal(spins, samples.spins)
    return bool(same_rows and same_spins and np.allclose(energies, samples.energies))


# ---- the server, the network, and those who watch -------------------------------------------


def start(
    stack: ExitStack, *arguments: str, **environment: str
) -> tuple[subprocess.Popen[str], str]:
    """Start a command that says where it listens; it ends with the stack."""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-m", "cim_hal.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONPATH": here} | environment,
    )  # fmt: skip
    stack.callback(end, process)
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        sys.exit(f"cim-hal {arguments[0]} did not start")
    return process, line.split()[-1]


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def status_of(process: subprocess.Popen[Any]) -> int:
    """Wait for a client to end; one that does not, counts as dead."""
    try:
        return process.wait(2 * TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return 1


def children(pid: int) -> list[int]:
    """Return the processes that any thread of a process has started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


@dataclass
class Watch:
    """Samples of the processes, and pings past the bad network."""

    server: int
    keys: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    rests: list[dict[str, float]] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)

    def sample(self, seconds: float) -> None:
        """Note what the processes take; a driver is the child of the server."""
        row = {"s": round(seconds, 1)}
        drivers = children(self.server)
        for name, pid in (("server", self.server), ("driver", drivers[0] if drivers else 0)):
            memory, files = memory_bytes(pid), open_files(pid)
            if memory is not None and files is not None:
                row |= {f"{name}_mb": memory / 1e6, f"{name}_files": files, f"{name}_pid": pid}
        self.rows.append(row)

    def rest(self, began: float, endpoint: str, ended: threading.Event) -> None:
        """Let all go that is held in a rest, and note what is left at its end."""
        with open_device(endpoint, timeout_s=TIMEOUT_S, **self.keys) as device:
            while not ended.is_set():
                if ended.wait(ROUND_S - (time.monotonic() - began) % ROUND_S - REST_S + DROP_S):
                    return
                for held in device.couplings():
                    with suppress(CimError):  # a job needs them, or they are gone
                        device.drop_couplings(held.digest)
                if ended.wait(resting_s(began) - 1.0):
                    return
                self.sample(time.monotonic() - began)
                self.rests.append(self.rows[-1])
                ended.wait(2.0)

    def ping(self, endpoint: str, ended: threading.Event) -> None:
        """Ask the server for signs of life, on a line of its own."""
        with open_device(endpoint, timeout_s=TIMEOUT_S, **self.keys) as device:
            while not ended.wait(PROBE_S):
                began = time.perf_counter()
                device.ping()
                self.pings.append(time.perf_counter() - began)


def slope(rows: list[dict[str, float]], name: str, warm_s: float) -> dict[str, float] | None:
    """Return growth per hour with its interval of 95 %; None with too few samples."""
    kept = [(row["s"] / 3600, row[name]) for row in rows if row["s"] >= warm_s and name in row]
    if len(kept) < 5:
        return None
    hours, values = np.array(kept).T
    middle, _, low, high = theilslopes(values, hours, 0.95)
    return {"per_hour": float(middle), "low": float(low), "high": float(high)}


def quantiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    points = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: 1e3 * float(np.quantile(seconds, q)) for name, q in points.items()}


# ---- the whole ------------------------------------------------------------------------------


def soak(
    minutes: float, n_clients: int, warm_s: float, *, on_disk: bool, troubled: bool
) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        troubles = Troubles(folder) if troubled else None
        (folder / "faults.toml").write_text(CRASHES if troubled else FAULTS)
        limits = [part for name, value in LIMITS.items() for part in ("--limit", f"{name}={value}")]
        faults = ["--faults", str(folder / "faults.toml")]
        journal = ["--state", str(folder / "state")] if on_disk or troubled else ["--no-journal"]
        more = troubles.arguments() if troubles else []
        environment = troubles.environment() if troubles else {}
        serve = ["serve", "soak_machine:Soak", *faults, *limits, *journal, *more]
        server, direct = start(stack, *serve, **environment)
        lossless = ("--reset-every", "--latency", "--seed")
        network = [
            part
            for name, value in NETWORK.items()
            if not troubles or name in lossless
            for part in (name, str(value))
        ]
        chaos, endpoint = start(stack, "chaos", "--target", direct, *network)
        keys = {user: troubles.keys(user) for user in (*USERS, OPERATOR)} if troubles else {}
        watch, ended = Watch(server.pid, keys.get(OPERATOR, {})), threading.Event()
        prober = threading.Thread(target=watch.ping, args=(direct, ended), daemon=True)
        prober.start()
        began = time.monotonic()
        rests = threading.Thread(target=watch.rest, args=(began, direct, ended), daemon=True)
        rests.start()
        if troubles:
            troubles.begin(direct, ended, lambda: resting_s(began) > 0)
        times = [repr(began), str(60 * minutes)]
        of = [json.dumps(keys.get(USERS[n % len(USERS)], {})) for n in range(n_clients)]
        clients = [launch(stack, folder, endpoint, n, [*times, of[n]]) for n in range(n_clients)]
        timeout_s = 60 * minutes + 4 * TIMEOUT_S
        try:
            while any(c.poll() is None for c in clients) and time.monotonic() - began < timeout_s:
                watch.sample(time.monotonic() - began)
                time.sleep(SAMPLE_S)
        except KeyboardInterrupt:
            print("interrupted: what was seen so far follows", file=sys.stderr)
        seconds = time.monotonic() - began
        died = [name for name, p in (("server", server), ("chaos", chaos)) if p.poll() is not None]
        for each in clients:
            if each.poll() is None:
                each.send_signal(signal.SIGINT)
        statuses = [status_of(each) for each in clients]
        ended.set()
        prober.join(TIMEOUT_S)
        rests.join(TIMEOUT_S)
        with open_device(direct, timeout_s=TIMEOUT_S, **watch.keys) as device:
            metrics = device.metrics()
        counted = {
            "jobs": metrics.value("jobs_total"),
            "failed": metrics.value("jobs_total", end="failed"),
            "driver_restarts": metrics.value("driver_restarts_total"),
            "refused_frames": metrics.value("refused_frames_total"),
        }
        of_clients = [json.loads(path.read_text()) for path in sorted(folder.glob("client-*.json"))]
        return report(of_clients, watch, seconds, warm_s, counted) | {
            "clients": n_clients,
            "clients_that_died": n_clients - len(of_clients) + sum(map(bool, statuses)),
            "died": died,
            "on_disk": on_disk or troubled,
            "witness": troubles.seen() if troubles else {},
        }


def launch(
    stack: ExitStack, folder: Path, endpoint: str, number: int, times: list[str]
) -> subprocess.Popen[Any]:
    out = folder / f"client-{number}.json"
    arguments = ["--client", endpoint, str(number), *times, str(out)]
    process = subprocess.Popen([sys.executable, __file__, *arguments])
    stack.callback(end, process)
    return process


def report(
    of_clients: list[dict[str, Any]],
    watch: Watch,
    seconds: float,
    warm_s: float,
    counted: dict[str, float],
) -> dict[str, Any]:
    repeated: Counter[str] = Counter()
    for counters in of_clients:
        repeated.update(counters["repeated"])
    lost = [sentence for counters in of_clients for sentence in counters["lost"]]
    pids = {row["driver_pid"] for row in watch.rows if "driver_pid" in row}
    quantities = ("server_mb", "server_files", "driver_mb", "driver_files")
    return {
        "seconds": seconds,
        "jobs": sum(counters["jobs"] for counters in of_clients),
        "wrong": sum(counters["wrong"] for counters in of_clients),
        "lost": len(lost),
        "lost_because": Counter(lost).most_common(10),
        "repeated_after": dict(repeated),
        "job_ms": quantiles([s for counters in of_clients for s in counters["seconds"]]),
        "ping_ms": quantiles(watch.pings),
        "pings": len(watch.pings),
        "warm_s": warm_s,
        # a driver that was started anew begins again: its growth says nothing then
        "slopes": {
            name: slope(watch.rests, name, warm_s)
            for name in quantities
            if len(pids) <= 1 or not name.startswith("driver")
        },
        "server_counted": counted,
        "samples": watch.rows,
        "rests": watch.rests,
    }


def is_good(found: dict[str, Any]) -> bool:
    grows, witness = found["slopes"]["server_mb"], found["witness"]
    is_long = found["seconds"] >= 600
    jobs_per_h = 3600 * found["server_counted"]["jobs"] / found["seconds"]
    keys_mb_h = KEY_BYTES * jobs_per_h / 1e6 if found["on_disk"] else 0.0
    leaks = bool(is_long and grows and grows["low"] > SLOPE_LIMIT_MB_H + keys_mb_h)
    broken = found["wrong"] or found["lost"] or found["clients_that_died"] or found["died"]
    broken = broken or witness.get("twice") or witness.get("two_drivers")
    return bool(found["jobs"]) and not broken and not leaks


def table(found: dict[str, Any]) -> Table:
    rows = Table("what", "figure", title="Soak")
    minutes = found["seconds"] / 60
    rows.add_row("time, clients", f"{minutes:.1f} min, {found['clients']}")
    rows.add_row("jobs", f"{found['jobs']}, {found['jobs'] / found['seconds']:.1f}/s")
    rows.add_row("wrong / lost", f"{found['wrong']} / {found['lost']}")
    if witness := found["witness"]:
        rows.add_row("ran twice / two drivers", f"{witness['twice']} / {witness['two_drivers']}")
        troubles = ", ".join(f"{name} {count}" for name, count in witness["troubles"].items())
        rows.add_row("troubles", troubles)
    rows.add_row("processes that died", f"{found['clients_that_died']} {found['died']}")
    rows.add_row(
        "repeated after", ", ".join(f"{n} {c}" for c, n in found["repeated_after"].items())
    )
    rows.add_row("driver started anew", f"{found['server_counted']['driver_restarts']:.0f}")
    for name, of in (("a job", "job_ms"), ("ping, direct", "ping_ms")):
        rows.add_row(f"{name}, ms", ", ".join(f"{k} {v:.1f}" for k, v in found[of].items()))
    for name, grows in found["slopes"].items():
        unit = "MB/h" if name.endswith("mb") else "/h"
        said = "too few samples"
        if grows:
            said = f"{grows['per_hour']:+.2f} {unit} ({grows['low']:+.2f} to {grows['high']:+.2f})"
        last = [row[name] for row in found["rests"] if name in row][-1:]
        rows.add_row(
            f"{name} at rest: growth", f"{said}; {last[0]:.1f} at the end" if last else said
        )
    for sentence, count in found["lost_because"]:
        rows.add_row(f"lost {count}", sentence[:120])
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--client"]:
        endpoint, number, began, seconds, keys, out = sys.argv[2:]
        counters = client(endpoint, int(number), float(began), float(seconds), json.loads(keys))
        Path(out).write_text(json.dumps(counters.__dict__))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--warm-s", type=float, help="default: a third of the time, at most 600")
    parser.add_argument(
        "--on-disk",
        action="store_true",
        help="keep jobs in a journal on disk: then keys are remembered for a day, and memory grows "
        "by some 300 bytes a job until it is over",
    )
    parser.add_argument(
        "--troubles",
        action="store_true",
        help="several users with keys, a journal on a disk that is slow now and then, unplugging, "
        "port scans, full tables, a driver with helpers that crashes",
    )
    parser.add_argument("--out", type=Path, help="where to write all of it as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then: report, and end all
    warm_s = arguments.warm_s or min(20 * arguments.minutes, 600.0)
    found = soak(
        arguments.minutes,
        arguments.clients,
        warm_s,
        on_disk=arguments.on_disk,
        troubled=arguments.troubles,
    )
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1))
    Console().print(table(found))
    sys.exit(0 if is_good(found) else 1)


if __name__ == "__main__":
    main()
