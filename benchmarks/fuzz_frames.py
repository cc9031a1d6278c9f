"""Mutated messages by the million, through the codec and through a server in its own process.

    python benchmarks/fuzz_frames.py --messages 1000000 --seed 0

Prints one line for each part; ends with an error where anything but a `ProtocolError` was raised,
more memory was held than twice the size of a message, or the server was silent for 20 s, or logged
an error.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from cim_fuzz import ALLOWANCE, Stranger, open_session, originals, resident_bytes, through_codec
from mutations import Mutator

from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire.codec import decode

SERVER = """
import logging, sys
from cim_machines import Annealer
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.router import Router
logging.basicConfig(level=logging.ERROR)
with Router(Annealer(), limits=Limits(max_sessions=10**7)) as router:
    print(router.endpoint, flush=True)
    router.serve()
"""


def _decode_all(n_messages: int, seed: int) -> str:
    began, n_packets = time.perf_counter(), 0
    for frames in islice(Mutator(originals(), seed), n_messages):
        try:
            decode(frames)
            n_packets += 1
        except ProtocolError:
            continue
    return f"{n_packets} were valid still, {time.perf_counter() - began:.0f} s"


def _measure(n_messages: int, seed: int) -> str:
    found = through_codec(n_messages, seed=seed)
    if found.most_over > ALLOWANCE:
        sys.exit(f"{found.most_over} bytes more than twice the size were held")
    return (
        f"at most {max(found.most_over, 0)} bytes held beyond twice the size of the message, "
        f"{found.highest} while it was read"
    )


def _serve_all(n_messages: int, seed: int) -> str:
    root = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (root / "tests/support", root)))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    try:
        endpoint = server.stdout.readline().strip() if server.stdout else ""
        stranger = Stranger(endpoint, open_session(endpoint))
        stranger.pour(n_messages // 10, seed=seed + 1)
        before, began = resident_bytes(server.pid), time.perf_counter()
        n_replies = stranger.pour(n_messages, seed=seed)
        seconds = time.perf_counter() - began
        grown = (resident_bytes(server.pid) - before) / 2**20
        stranger.close()
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=30)
    if "ERROR" in errors:
        sys.exit(errors[-5000:])
    return f"{n_replies} replies, memory grew by {grown:.1f} MiB, {seconds:.0f} s"


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n, seed = options.messages, options.seed
    print(f"codec, {n} messages: {_decode_all(n, seed)}", flush=True)
    print(f"memory, {n // 10} messages: {_measure(n // 10, seed)}", flush=True)
    print(f"server, {n} messages: {_serve_all(n, seed)}", flush=True)


if __name__ == "__main__":
    main()
