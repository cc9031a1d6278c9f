"""One process at a time has a machine, whoever was killed, stopped, or started twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from driver_processes import PAIR, driver_of, is_alive, wait_for

from cim_hal import MachineConfig, TargetError, open_device, ownership
from cim_hal.machine.registry import claim
from cim_hal.ownership import Process, end_marked, lock_file, open_lock, own, release
from cim_hal.server.driver.process import DriverProcess

TARGET = "owned_machines:Owned"
HELD_S = 20


@pytest.fixture
def witness(tmp_path, monkeypatch):
    """The lines that drivers wrote, split into words."""
    path = tmp_path / "witness"
    monkeypatch.setenv("CIM_WITNESS", str(path))
    return lambda: [line.split() for line in path.read_text().splitlines()]


@pytest.fixture
def serve(cim_hal, tmp_path):
    """Starts a server of the machine; each has a journal of its own."""
    folders = iter(range(100))

    def start(*options):
        journal = ("--state", str(tmp_path / f"journal{next(folders)}"))
        return cim_hal("serve", TARGET, *(options or journal))

    return start


def endpoint_of(server) -> str:
    line = server.stdout.readline()
    return line.split()[-1] if line else server.stderr.read()


def begin(endpoint: str, witness, seed: int) -> None:
    """Submit a job, and wait until the machine is in it."""
    with open_device(endpoint) as device:
        device.submit(PAIR, seed=seed, keep=True)
        wait_for(lambda: [seed] == [int(w[2]) for w in witness() if w[0] == "enter"])


def overlaps(lines: list[list[str]]) -> list[str]:
    """Return the processes that used the machine while another had entered and was alive."""
    inside: str | None = None
    found = []
    for what, pid, *_ in lines:
        if what == "helper":
            continue
        if inside is not None and pid != inside:
            if is_alive(int(inside)):
                found.append(pid)
            inside = None
        if what in {"enter", "leave"}:
            inside = pid if what == "enter" else None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000 + HELD_S, 2000 + HELD_S, 3000])
def test_a_new_server_waits_until_the_driver_of_a_killed_one_is_gone(serve, witness, seed):
    server = serve("--no-journal")
    begin(endpoint_of(server), witness, seed)
    old = int(next(words[1] for words in witness() if words[0] == "enter"))
    server.kill()
    began = time.monotonic()
    with open_device(endpoint_of(serve()), timeout_s=30.0) as device:
        assert not is_alive(old)
        assert device.sample(PAIR, seed=1).best_energy == -1.0
    assert time.monotonic() - began < 50.0  # 6 s on a machine that is not busy
    lines = witness()
    assert overlaps(lines) == []
    assert lines.index(["open", lines[-1][1]]) > lines.index(["enter", str(old), str(seed)])


@pytest.mark.slow
def test_a_killed_server_whose_driver_and_keeper_are_stopped_is_followed_by_the_next(
    serve, witness, monkeypatch
):
    server = serve("--no-journal")
    begin(endpoint_of(server), witness, 2000 + 60)
    keeper = driver_of(server.pid)
    old = int(next(words[1] for words in witness() if words[0] == "enter"))
    for pid in (keeper, old):
        os.kill(pid, signal.SIGSTOP)
    server.kill()
    with open_device(endpoint_of(serve()), timeout_s=60.0) as device:
        assert not is_alive(old)
        assert not is_alive(keeper)
        device.sample(PAIR, seed=1)


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("--no-journal",), marks=pytest.mark.slow),
        pytest.param(("--no-journal", "--in-process"), marks=pytest.mark.slow),
    ],
)
def test_a_second_server_of_a_machine_is_refused(serve, witness, options):
    server = serve()
    endpoint = endpoint_of(server)
    second = serve(*options)
    out, err = second.communicate(timeout=60)
    assert (out, second.returncode) == ("", 2)
    assert f"in use by the server with process number {server.pid}" in err
    if not options:
        assert "has no option 'prot'" in serve("--option", "prot=80").communicate(timeout=60)[1]
    with pytest.raises(TargetError, match="in use by the server"):
        open_device(TARGET)
    with open_device(endpoint) as device:
        device.sample(PAIR, seed=1)
    assert len({words[1] for words in witness() if words[0] == "open"}) == 1


@pytest.mark.slow
def test_programs_share_a_machine_in_their_own_process_and_keep_servers_out(serve, witness):
    with open_device(TARGET), open_device(TARGET):
        _, err = serve().communicate(timeout=60)
        assert "in use by a program" in err
    endpoint_of(named := serve("--no-journal", "--hardware", "left bench"))
    assert endpoint_of(serve()).startswith("tcp://")
    assert named.poll() is None
    assert witness()


def test_a_number_that_another_process_has_now_is_not_that_process():
    us = Process.of(os.getpid())
    assert us is not None
    assert us.is_alive
    impostor = us._replace(started="boot 1")
    assert not impostor.is_alive
    impostor.kill()  # which kills nobody


def test_processes_are_found_by_the_mark_in_their_environment():
    sleepers = [
        subprocess.Popen(["/bin/sleep", "600"], env={"CIM_HAL_DRIVER": mark}, process_group=0)
        for mark in ("this", "that")
    ]
    wait_for(lambda: all(Process.of(sleeper.pid) for sleeper in sleepers))
    end_marked("this")
    assert sleepers[0].wait(10.0) == -signal.SIGKILL
    assert sleepers[1].poll() is None
    end_marked("that")
    sleepers[1].wait(10.0)


def test_forked_helpers_do_not_inherit_the_lock(witness, tmp_path):
    code = (
        "import os\nfrom cim_hal import open_device\n"
        f"device = open_device({TARGET!r})\n"
        "if os.fork() == 0:\n    print('forked', flush=True)\n    os.read(0, 1)\n    os._exit(0)\n"
        "os._exit(0)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    assert program.stdout.readline() == "forked\n"
    program.wait(60.0)
    release(claim(MachineConfig.of(TARGET), server=os.getpid()))
    program.communicate("x")


def test_a_lock_file_that_is_a_link_or_no_file_is_refused_and_untouched(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lock, precious = lock_file("bench"), tmp_path / "precious"
    lock.parent.mkdir(parents=True)
    precious.write_text("data", encoding="ascii")
    lock.symlink_to(precious)
    with pytest.raises(TargetError, match=r"bench\.lock cannot be opened"):
        open_lock(lock)
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(TargetError, match="no regular file"):
        open_lock(lock)
    assert precious.read_text(encoding="ascii") == "data"


@pytest.mark.parametrize("left", ["[" * 4096, '{"processes": 3}', "\udcff", ""])
def test_whatever_stands_in_a_lock_file_the_next_one_takes_the_lock(tmp_path, left):
    path = tmp_path / "bench.lock"
    path.write_text(left, encoding="utf-8", errors="surrogateescape")
    lock = open_lock(path)
    own(lock, server=os.getpid())
    release(lock)
    assert str(os.getpid()) in path.read_text(encoding="ascii")


def test_where_a_container_hides_the_boot_processes_are_known_all_the_same(tmp_path, monkeypatch):
    """As in a unit with ProcSubset=pid: there is no /proc/sys."""
    (tmp_path / "self").symlink_to("/proc/self")
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(ownership, "PROC", tmp_path)
    assert Process.of(os.getpid()).is_alive


def test_a_user_without_a_home_is_told_so_and_is_not_waited_for(monkeypatch):
    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(ownership.Path, "home", homeless)
    with pytest.raises(TargetError, match="no home folder"):
        DriverProcess(TARGET).describe()


def test_users_of_one_computer_exclude_each_other_and_are_not_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "WAIT_S", 0.2)
    ours, theirs = (open_lock(tmp_path / user / "bench.lock") for user in ("ours", "theirs"))
    own(theirs, server=os.getpid())
    with pytest.raises(TargetError, match="in use by another user"):
        own(ours, server=os.getpid())
    release(theirs)
    own(ours)  # programs share it, also those of two users
    theirs = open_lock(tmp_path / "theirs" / "bench.lock")
    own(theirs)
    release(ours)
    release(theirs)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("flock"), reason="needs two users")
def test_another_user_may_lock_the_file_for_all_and_not_write_it(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("CIM_HAL_LOCKS", folder)
        Path(folder).chmod(0o1777)
        lock = open_lock(tmp_path / "bench.lock")
        (shared,) = Path(folder).iterdir()
        assert _as_other(f"flock -n {shared} true") == 0
        assert _as_other(f": > {shared}") != 0
        own(lock, server=os.getpid())
        assert _as_other(f"flock -n {shared} true") == 1
        release(lock)


def _as_other(command: str) -> int:
    """Return the exit status of a command of another user."""
    other = {"user": 65534, "group": 65534, "extra_groups": []}
    return subprocess.run(["/bin/sh", "-c", command], stderr=-3, check=False, **other).returncode


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_for_all_users_that_is_no_file_is_refused(tmp_path, kind):
    shared = tmp_path / "cim-hal-bench.lock"
    {"link": lambda: shared.symlink_to("/etc/passwd"), "pipe": lambda: os.mkfifo(shared),
     "folder": shared.mkdir}[kind]()  # fmt: skip
    with pytest.raises(TargetError, match=r"CIM_HAL_LOCKS names another folder"):
        open_lock(tmp_path / "mine" / "bench.lock")
