"""What goes wrong around a server under load: for ``benchmarks/soak.py --troubles``.

A disk whose fsync takes a second now and then, an instrument that is unplugged and plugged in, raw
bytes of strangers at the port, and a user who fills every table there is and fetches nothing.
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cim_port_scan import byte_strings, knock
from slow_disk import compiled
from user_keys import make_keys

from cim_hal import CimError, IsingModel, open_device
from cim_hal.errors import QuotaError
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.protocol.wire.messages import BeginCouplings, CouplingRef, UploadOpened

USERS = ("ann", "ben", "cleo")
FLOODER, OPERATOR = "mallory", "olga"
# Small tables, so that they are full after seconds.
LIMITS = {
    "cache_entries": 400, "kept_jobs": 400, "user_kept_jobs": 100, "user_queue_length": 32,
    "user_waits": 64, "user_lowerings": 16, "user_uploads": 8, "upload_s": 5.0,
}  # fmt: skip
FSYNC_S, SLOW_EVERY_S, SLOW_S = 1.0, 40.0, 6.0
UNPLUG_EVERY_S, UNPLUGGED_S = 55.0, 5.0
SCANS_PER_S = 20.0


@dataclass
class Troubles:
    """Where the switches lie; `counts` says how often each trouble came."""

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def plug(self) -> Path:
        """While this is there the machine is unplugged."""
        return self.folder / "unplugged"

    @property
    def witness(self) -> Path:
        """What the driver writes: the seed of each run, and who ran beside it."""
        return self.folder / "witness"

    def keys(self, user: str) -> dict[str, str]:
        """Return the keys with which a user opens the server."""
        return {"key": f"{self.folder}/{user}.key", "server_key": f"{self.folder}/server.pub"}

    def environment(self) -> dict[str, str]:
        """Return what the server is started with: a switch for its disk, and for its machine."""
        environment = {"SOAK_PLUG": str(self.plug), "SOAK_WITNESS": str(self.witness)}
        if shutil.which("cc") is None or sys.platform != "linux":
            print("no C compiler: the disk is as fast as it is", file=sys.stderr)
            return environment
        shim = compiled(self.folder)
        slow = {"CIM_FSYNC_S": str(FSYNC_S), "CIM_FSYNC_SWITCH": str(self.folder / "slow")}
        return environment | slow | {"LD_PRELOAD": str(shim)}

    def arguments(self) -> list[str]:
        """Return the options of ``cim-hal serve``: keys of all users, and small tables."""
        make_keys(self.folder, dict.fromkeys((*USERS, FLOODER), "user") | {OPERATOR: "operator"})
        limits = [part for name, value in LIMITS.items() for part in ("--limit", f"{name}={value}")]
        return [
            "--key",
            f"{self.folder}/server.key",
            "--authorized",
            f"{self.folder}/authorized.toml",
            *limits,
        ]

    def begin(self, endpoint: str, ended: threading.Event, resting: Callable[[], bool]) -> None:
        """Begin all troubles, in threads; where it is `resting` the flood and the scans pause."""
        address = endpoint.removeprefix("tcp://").rpartition(":")
        scan = (address[0], int(address[2]))
        for run in (
            lambda: self._switch("slow", SLOW_EVERY_S, SLOW_S, ended),
            lambda: self._switch("unplugged", UNPLUG_EVERY_S, UNPLUGGED_S, ended),
            lambda: self._scan(scan, ended, resting),
            lambda: self._flood(endpoint, ended, resting),
        ):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self.threads.append(thread)

    def seen(self) -> dict[str, Any]:
        """Return what the witness saw: jobs that ran twice, and drivers that ran at once."""
        for thread in self.threads:  # they end by themselves
            thread.join(60.0)
        lines = self.witness.read_text().split() if self.witness.exists() else []
        seeds = [line for line in lines if line != "BOTH"]
        return {
            "runs": len(seeds),
            "twice": len(seeds) - len(set(seeds)),
            "two_drivers": lines.count("BOTH"),
            "troubles": self.counts,
        }

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _switch(self, name: str, every_s: float, for_s: float, ended: threading.Event) -> None:
        switch = self.folder / name
        while not ended.wait(every_s - for_s):
            switch.touch()
            self._count(name)
            ended.wait(for_s)
            switch.unlink(missing_ok=True)

    def _scan(
        self, address: tuple[str, int], ended: threading.Event, resting: Callable[[], bool]
    ) -> None:
        rng = random.Random(1)
        for text in byte_strings(1):
            if ended.wait(1.0 / SCANS_PER_S):
                return
            if not resting():
                with suppress(OSError):
                    knock(address, text, rng)
                    self._count("port scan")

    def _flood(self, endpoint: str, ended: threading.Event, resting: Callable[[], bool]) -> None:
        rng = np.random.default_rng(99)
        while not ended.is_set():
            if resting():
                ended.wait(0.2)
                continue
            try:
                with open_device(endpoint, timeout_s=30.0, **self.keys(FLOODER)) as device:
                    while not (ended.is_set() or resting()):
                        self._fill(device, rng)
                    for info in device.jobs():
                        with suppress(CimError):
                            device.cancel(info.job)
                            device.job(info.job).acknowledge()
            except CimError as error:
                self._count(f"flood: {error.code}")

    def _fill(self, device: Any, rng: np.random.Generator) -> None:
        """Ask for more than there is of everything, and fetch nothing."""
        model = IsingModel.from_couplings(_tiny(rng))
        other = CouplingRef(digest=f"sha256:{rng.bytes(32).hex()}")
        begin = BeginCouplings(coupling=other, spec=Couplings.of(model).spec)
        if time.monotonic() % 60 > 50:  # uploads that are in the way of the user's own models
            asks = {"uploads": lambda: device._ask(begin, UploadOpened, 5.0)}  # noqa: SLF001
        else:
            asks = self._asks(device, model, rng)
        for what, ask in asks.items():
            try:
                ask()
                self._count(f"flood of {what}")
            except QuotaError as error:
                self._count(f"refused: {error.details['what']}")
            except CimError as error:
                self._count(f"refused: {error.code}")
        time.sleep(0.002)

    def _asks(
        self, device: Any, model: IsingModel, rng: np.random.Generator
    ) -> dict[str, Callable[[], object]]:
        return {
            "jobs": lambda: device.submit(model, seed=int(rng.integers(2**62)), keep=True),
            "gauges": lambda: device.load(model, gauge_seed=int(rng.integers(2**31))),
            "lists": device.couplings,
            "status": device.status,
        }


def _tiny(rng: np.random.Generator) -> np.ndarray:
    J = np.triu(rng.integers(-1, 2, (4, 4)), 1)
    J[0, 1] = 1
    return J + J.T
