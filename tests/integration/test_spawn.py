"""A server in a process of its own ends with its block, and says why it did not start."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cim_hal import TargetError, spawn_server
from cim_hal.errors import ConnectError


def test_a_spawned_server_ends_with_its_block():
    with spawn_server("cim_machines:Annealer") as server:
        assert server.process.poll() is None
    assert server.process.returncode == 0


def test_a_spawned_server_that_does_not_start_says_why():
    with pytest.raises(TargetError, match="no device goes by the name 'nobody'"):
        spawn_server("nobody")
    with spawn_server("cim_machines:Annealer") as server, pytest.raises(ConnectError, match="use"):
        spawn_server("cim_machines:Annealer", endpoint=server.endpoint)


@pytest.mark.parametrize(
    "command",
    [
        (Path(sys.executable).with_name("cim-hal"), "describe", "our_bench:Annealer", "--json"),
        (sys.executable, "ours/try_it.py"),
    ],
    ids=["a command in its folder", "a script beside it, run from elsewhere"],
)
def test_a_driver_is_found_where_its_author_keeps_it(command, tmp_path):
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "our_bench.py").write_text("from cim_machines import Annealer\n")
    (folder / "try_it.py").write_text(
        "from cim_hal import spawn_server\n"
        "with spawn_server('our_bench:Annealer') as server:\n"
        "    assert server.endpoint\n"
    )
    where = tmp_path if "ours/try_it.py" in command else folder
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _spawn_and_die(pipe) -> None:
    server = spawn_server("cim_machines:Annealer")
    pipe.send(server.process.pid)
    os._exit(1)


def test_a_spawned_server_ends_when_its_parent_dies():
    ours, theirs = multiprocessing.Pipe()
    parent = multiprocessing.get_context("spawn").Process(target=_spawn_and_die, args=[theirs])
    parent.start()
    try:
        assert ours.poll(60.0)
        pid = ours.recv()
        parent.join()
        deadline = time.monotonic() + 20.0
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_alive(pid)
    finally:
        parent.join()
        parent.close()
        ours.close()
        theirs.close()


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return status.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
