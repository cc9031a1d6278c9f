"""A process that runs the solvers of one package, in that package's environment.

Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from functools import cache
from typing import Any, TextIO

import numpy as np
from peers import Couplings

__all__ = ["serve"]


@cache
def couplings(path: str) -> Couplings:
    """Load J once."""
    return Couplings(np.load(path))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run what is asked for; the spins go into a file."""
    call = getattr(importlib.import_module(request["module"]), request["call"])
    J = couplings(request["instance"])
    start = time.process_time()
    seconds, values = call(J, **request["arguments"])
    processor_s = time.process_time() - start
    np.save(request["spins"], np.where(np.asarray(values) < 0, -1, 1).astype(np.int8))
    return {"seconds": float(seconds), "processor_s": processor_s}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more; a failure is an answer too."""
    for line in requests:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001  whatever a peer raises is reported
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    # what packages print goes to the log: the answers have the output to themselves
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, output)
