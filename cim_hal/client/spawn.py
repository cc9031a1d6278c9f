"""A server in a process of its own, for as long as a block runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Self

from cim_hal.addresses import check_endpoint_form
from cim_hal.errors import ConnectError, ModelError, TargetError
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.registry import check_name
from cim_hal.model.conversion import duration, require, whole_number

if TYPE_CHECKING:
    from cim_hal.machine.options import OptionValue

__all__ = ["READY", "SpawnedServer", "spawn_server"]

READY = "ready: "
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
STOP_TIMEOUT_S = 15.0
# What the caller can import the server can: a driver beside the caller's script, above all.
CODE = """
import json, sys
sys.path[:] = dict.fromkeys([*json.loads(sys.argv.pop(1)), *sys.path])
from cim_hal.cli import main
main()
"""


def spawn_server(
    target: str | os.PathLike[str] | MachineConfig,
    *,
    endpoint: str = "tcp://127.0.0.1:0",
    timeout_s: float = 60.0,
    threads: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
) -> SpawnedServer:
    """Start ``cim-hal serve TARGET`` in a process of its own.

    The process ends with the block, and with this process however that ends.

    Parameters
    ----------
    target : str, path or MachineConfig
        Name of an installed driver, ``module:factory`` of anything that this process can import,
        or a machine file.
    endpoint : str
        Where it listens; a free port of this machine by default.
    timeout_s : float
        How long it may take to be ready.
    threads : int, optional
        How many its libraries may use, where the environment does not say (``OMP_NUM_THREADS``
        and others); as many as there are processors where it is None.
    options : mapping of str to str, int, float or bool, optional
        What the driver is built with; they go before those of a machine file.

    Raises
    ------
    TargetError
        No driver goes by that name, or it did not start.
    ConnectError
        The server did not start, or was not ready in time.

    Examples
    --------
    >>> with spawn_server("emulator") as server:  # doctest: +SKIP
    ...     device = open_device(server.endpoint)
    """
    config = MachineConfig.of(target, options)
    if config.is_endpoint:
        raise TargetError(f"{config.driver} is a server already", hint="open_device connects to it")
    check_name(config.driver)
    require("endpoint", endpoint, str, ModelError, hint="pass tcp://host:port or ipc://path")
    try:
        check_endpoint_form(endpoint, listening=True)
    except ValueError as error:
        raise ModelError(f"endpoint: {error}") from None
    timeout_s = duration("timeout_s", timeout_s, ModelError)
    if threads is not None:
        threads = whole_number("threads", threads, ModelError, 1)
    command = [sys.executable, "-c", CODE, json.dumps(sys.path), "serve", config.driver]
    command += ["--machine-json", config.model_dump_json()]
    command += ["--bind", endpoint, "--no-journal", "--until-stdin-closes"]
    stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    try:
        process = _popen(command, stderr, threads)
    except BaseException:
        stderr.close()
        raise
    server = SpawnedServer(config.target, process, stderr)
    try:
        server.wait_until_ready(timeout_s)
    except BaseException:
        server.close()
        raise
    return server


@dataclass(eq=False)
class SpawnedServer:
    """A running server; a context manager that ends it.

    Attributes
    ----------
    endpoint : str
        Where it listens.
    """

    target: str
    process: subprocess.Popen[str]
    stderr: IO[str]
    endpoint: str = ""

    def wait_until_ready(self, timeout_s: float) -> None:
        """Read the line that says where the server listens."""
        line = _first_line(self.process.stdout, timeout_s)
        if line is None:
            raise ConnectError(f"the server of {self.target!r} was not ready in {timeout_s:g} s")
        if not line.startswith(READY):
            raise self._start_error()
        self.endpoint = line.split()[-1]

    def close(self) -> None:
        """End the server: first in good order, then by force."""
        with self.process, self.stderr:
            if self.process.stdin:
                self.process.stdin.close()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_error(self) -> TargetError | ConnectError:
        status = self.process.wait(STOP_TIMEOUT_S)
        self.stderr.seek(0)
        said = self.stderr.read().strip().rpartition("\n")[2].removeprefix("error: ")
        message = f"the server of {self.target!r} did not start: {said or f'exit {status}'}"
        return TargetError(message) if status == 2 else ConnectError(message)


def _popen(command: Sequence[str], stderr: IO[str], threads: int | None) -> subprocess.Popen[str]:
    few = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    # Its own session: a Ctrl-C at our terminal is ours to handle, and the server ends with us.
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        env=few | os.environ,
    )


def _first_line(stream: IO[str] | None, timeout_s: float) -> str | None:
    lines: SimpleQueue[str] = SimpleQueue()
    if stream is not None:
        threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=min(timeout_s, threading.TIMEOUT_MAX))
    except Empty:
        return None
