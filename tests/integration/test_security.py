"""Keys, roles and what strangers can do to a server, with real sockets and processes."""

from __future__ import annotations

import json
import logging
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zmq
from cim_machines import Annealer, Patient
from studies import STUDY, rows_of
from user_keys import make_keys

from cim_hal import IsingModel, PermissionDeniedError, PumpSchedule, open_device
from cim_hal.errors import (
    AuthenticationError,
    ConnectError,
    EncryptionError,
    JobCancelledError,
    KeyFileError,
    ServerKeyError,
    UnknownKeyError,
    UnknownReferenceError,
)
from cim_hal.key_files import create_key, read_pair, read_public, trust
from cim_hal.machine.registry import make_driver
from cim_hal.server.router import Router
from cim_hal.server.security.authenticator import (
    DOMAIN,
    ENDPOINT,
    Authenticator,
    revoke,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal import Session

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
ROLES = {
    "oskar": "observer", "alice": "user", "bob": "user", "olga": "operator", "adam": "admin",
}  # fmt: skip
SOON_S = 10.0  # two breaks of the handshake, 0.3 to 0.6 s apart; a session waits 20 s


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Keys of a server, of everybody in `ROLES`, and of mallory, whom nobody knows."""
    create_key("mallory", tmp_path)
    return make_keys(tmp_path, ROLES)


@pytest.fixture
def authenticator(folder) -> Authenticator:
    return Authenticator(read_pair(folder / "server.key"), folder / "authorized.toml")


@pytest.fixture
def keys_of(folder) -> Callable[[str], dict[str, Path]]:
    return lambda name: {"key": folder / f"{name}.key", "server_key": folder / "server.pub"}


# ---- who comes in ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_samples_through_an_encrypted_connection_are_the_same_bits(
    serving, authenticator, keys_of, scheme, tmp_path
):
    endpoint = "tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/s"
    upper = np.triu(np.random.default_rng(0).normal(size=(200, 200)), k=1)
    model = IsingModel.from_couplings(upper + upper.T)
    found = []
    with (
        serving(Annealer()) as plain,
        serving(Annealer(), endpoint=endpoint, authenticator=authenticator) as guarded,
    ):
        for target, keys in ((plain, {}), (guarded, keys_of("alice"))):
            with open_device(target, **keys) as device:
                found.append(device.sample(model, n_runs=50, seed=3, coupling_bits=6))
    np.testing.assert_array_equal(found[0].spins, found[1].spins)
    np.testing.assert_array_equal(found[0].amplitudes, found[1].amplitudes)


def _refused(endpoint: str, error: type[AuthenticationError], sentence: str, **keys: Path) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=sentence) as caught:
        open_device(endpoint, timeout_s=20.0, **keys)
    assert time.monotonic() - started < SOON_S
    assert caught.value.details["endpoint"] == endpoint


@pytest.mark.parametrize(
    ("own", "other", "error", "sentence"),
    [
        ("mallory", "server", UnknownKeyError, "does not know the key of this client"),
        ("alice", "mallory", ServerKeyError, "public key another one"),
        ("mallory", "mallory", ServerKeyError, "public key another one"),
        (None, None, EncryptionError, "asks for keys, and none were given"),
    ],
)
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_who_is_not_known_is_told_why_at_once(  # noqa: PLR0917  the parameters of the test
    serving, authenticator, folder, own, other, error, sentence, scheme
):
    endpoint = "tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{folder}/s"
    keys = {"key": folder / f"{own}.key", "server_key": folder / f"{other}.pub"} if own else {}
    with serving(Annealer(), endpoint=endpoint, authenticator=authenticator) as endpoint:
        _refused(endpoint, error, sentence, **keys)


def test_a_client_with_keys_does_not_speak_to_a_server_without(serving, keys_of):
    with serving(Annealer()) as endpoint:
        _refused(endpoint, EncryptionError, "uses no keys", **keys_of("alice"))


def test_a_listener_that_is_no_server_is_not_taken_for_one_with_another_key(keys_of):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectError, match="nobody answers"):
            open_device(endpoint, timeout_s=1.5, **keys_of("alice"))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_with_a_dead_authenticator_nobody_enters(authenticator, keys_of):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.setsockopt(zmq.LINGER, 0)
        authenticator.require_keys(server)  # and nobody answers at the ZAP socket
        server.bind("tcp://127.0.0.1:*")
        endpoint = server.getsockopt_string(zmq.LAST_ENDPOINT)
        for name in ("adam", "mallory"):
            _refused(endpoint, AuthenticationError, "authenticator may be down", **keys_of(name))
        assert not server.poll(0)


def test_with_keys_a_server_may_listen_to_other_machines(serving, authenticator, keys_of):
    with serving(Annealer(), endpoint="tcp://0.0.0.0:0", authenticator=authenticator) as endpoint:
        port = endpoint.rpartition(":")[2]
        with open_device(f"tcp://127.0.0.1:{port}", **keys_of("oskar")) as device:
            assert device.capabilities.name == "annealer"


def test_a_trusted_endpoint_needs_no_keys_to_be_named_and_falls_back_to_nothing(
    serving, authenticator, folder, tmp_path
):
    with serving(Annealer(), authenticator=authenticator) as endpoint, serving(Annealer()) as plain:
        trust(endpoint, folder / "server.pub")
        trust(plain, folder / "server.pub")
        with pytest.raises(KeyFileError, match=r"client\.key"):
            open_device(endpoint)
        own = tmp_path / "config" / "cim-hal" / "client.key"
        own.touch(mode=0o600)
        own.write_bytes((folder / "alice.key").read_bytes())
        with open_device(endpoint) as device:
            assert device.sample(PAIR, n_runs=2).best_energy == -1
        with pytest.raises(EncryptionError, match="uses no keys"):
            open_device(plain)


def test_a_key_without_that_of_the_server_is_refused_before_anything_is_sent(folder):
    with pytest.raises(KeyFileError, match="cim-hal keys trust"):
        open_device("tcp://127.0.0.1:1", key=folder / "alice.key")


# ---- what they may do -----------------------------------------------------------------------


def test_an_observer_may_describe_and_not_sample(serving, authenticator, keys_of):
    with (
        serving(Annealer(), authenticator=authenticator) as endpoint,
        open_device(endpoint, **keys_of("oskar")) as device,
    ):
        assert device.describe().queued == 0
        with pytest.raises(PermissionDeniedError, match="needs the role user, and oskar is obs"):
            device.sample(PAIR)
        assert device.describe().busy is False


def test_an_operator_ends_the_job_of_a_user_and_another_user_does_not(
    serving, authenticator, keys_of, run
):
    def jobs(name: str, *arguments: str) -> tuple[int, str, str]:
        keys = (f"--{what.replace('_', '-')}={path}" for what, path in keys_of(name).items())
        return run("jobs", endpoint, *arguments, *keys)

    with (
        serving(Patient(), authenticator=authenticator) as endpoint,
        open_device(endpoint, **keys_of("alice")) as alice,
        open_device(endpoint, **keys_of("bob")) as bob,
        open_device(endpoint, **keys_of("olga")) as olga,
    ):
        job = alice.submit(PAIR, LONG)
        with pytest.raises(UnknownReferenceError):
            bob.cancel(job.id)
        assert "0 of your jobs" in jobs("bob", "cancel", job.id[:8])[2]
        assert "the server does not know that job" in jobs("bob", "cancel", job.id)[2]
        assert job.id[:12] in jobs("olga", "show", job.id)[1]
        later = alice.submit(PAIR, LONG), alice.submit(PAIR, LONG)
        assert olga.cancel(later[0].id) in {"stopping", "cancelled"}
        for name in (job.id, later[1].id[:8]):  # from the shell, by id and by prefix
            assert jobs("olga", "cancel", name)[0] == 0
        for each in (job, *later):
            with pytest.raises(JobCancelledError):
                each.result()


def _describe_for_long(device: Session) -> None:
    for _ in range(300):
        device.describe()
        time.sleep(0.1)


def test_a_client_taken_out_of_the_file_is_out_at_once(serving, authenticator, keys_of, folder):
    with (
        serving(Annealer(), authenticator=authenticator) as endpoint,
        open_device(endpoint, **keys_of("alice")) as device,
    ):
        assert device.sample(PAIR, n_runs=1).best_energy == -1
        revoke(folder / "authorized.toml", "alice")
        with pytest.raises(PermissionDeniedError, match="not authorized any more"):
            _describe_for_long(device)  # the file is looked at each second
        _refused(endpoint, UnknownKeyError, "does not know", **keys_of("alice"))
        with open_device(endpoint, **keys_of("oskar")) as other:
            assert other.describe().queued == 0


def test_what_is_done_is_written_down(serving, authenticator, keys_of, caplog):
    caplog.set_level(logging.INFO, "cim_hal.audit")
    with serving(Annealer(), authenticator=authenticator) as endpoint:
        with open_device(endpoint, **keys_of("alice")) as device:
            device.sample(PAIR, n_runs=2)
        with (
            open_device(endpoint, **keys_of("oskar")) as device,
            pytest.raises(PermissionDeniedError),
        ):
            device.sample(PAIR)
        with pytest.raises(UnknownKeyError):
            open_device(endpoint, **keys_of("mallory"))
    records = [record for record in caplog.records if record.name == "cim_hal.audit"]
    told = [(record.getMessage(), record.facts.get("user")) for record in records]
    assert told == [
        ("connected", "alice"),
        ("session", "alice"),
        ("job", "alice"),
        ("job started", "alice"),
        ("job ended", "alice"),
        ("session ended", "alice"),
        ("connected", "oskar"),
        ("session", "oskar"),
        ("denied", "oskar"),
        ("session ended", "oskar"),
        ("refused", None),
    ]
    facts = [record.facts for record in records]
    job, ended, denied, refused = facts[2], facts[4], facts[8], facts[10]
    assert (job["as"], job["n_runs"], ended["state"]) == ("user", 2, "done")
    assert job["job"] == ended["job"]
    assert (denied["what"], denied["required"]) == ("sample", "user")
    assert refused["address"] == "127.0.0.1"


# ---- what strangers can do ------------------------------------------------------------------

PART = 1 << 20
PARTS = 100
MORE_LONG, LONG_COMMAND = 0x03, 0x06


def _greeting(mechanism: bytes) -> bytes:
    return b"\xff" + struct.pack(">Q", 1) + b"\x7f\3\0" + mechanism.ljust(20, b"\0") + bytes(32)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


READY = b"\x05READY" + _property(b"Socket-Type", b"DEALER")


def _pour(endpoint: str, mechanism: bytes, flag: int) -> int:
    """Send parts of a message that never ends; return how many the server took."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    part = bytes([flag]) + struct.pack(">Q", PART) + bytes(PART)
    with socket.create_connection((host, int(port)), 5.0) as stream:
        stream.sendall(_greeting(mechanism))
        if mechanism == b"NULL":
            stream.sendall(bytes([4, len(READY)]) + READY)
        for sent in range(PARTS):
            try:
                stream.sendall(part)
            except OSError:
                return sent
    return PARTS


def test_a_peer_that_calls_itself_another_user_is_who_the_authenticator_says():
    """The NULL mechanism, which needs no cryptography here; libzmq merges the same way for all."""
    claim = READY + _property(b"User-Id", b"adam")
    with (
        zmq.Context() as context,
        context.socket(zmq.REP) as door,
        context.socket(zmq.ROUTER) as server,
    ):
        for each in (door, server):
            each.setsockopt(zmq.LINGER, 0)
            each.setsockopt(zmq.RCVTIMEO, 5000)
        server.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        server.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        door.bind(ENDPOINT)
        server.bind("tcp://127.0.0.1:*")
        port = server.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        with socket.create_connection(("127.0.0.1", int(port)), 5.0) as stream:
            stream.sendall(_greeting(b"NULL") + bytes([4, len(claim)]) + claim)
            request = door.recv_multipart()
            door.send_multipart([b"1.0", request[1], b"200", b"OK", b"alice", b""])
            answer = b""
            while b"READY" not in answer:
                answer += stream.recv(1024)
            stream.sendall(b"\0\2hi")
            frames = server.recv_multipart(copy=False)
    assert frames[-1].bytes == b"hi"
    assert [frame.get("User-Id") for frame in frames] == ["alice", "alice"]


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("mechanism", "flag"),
    [
        pytest.param(b"NULL", MORE_LONG, marks=pytest.mark.slow),
        (b"CURVE", MORE_LONG),
        pytest.param(b"CURVE", LONG_COMMAND, marks=pytest.mark.slow),
    ],
)
def test_a_stranger_cannot_fill_the_memory_of_a_server_with_keys(cim_hal, folder, mechanism, flag):
    arguments = ["--key", str(folder / "server.key"), "--authorized"]
    server = cim_hal("serve", "cim_machines:Annealer", *arguments, f"{folder}/authorized.toml")
    endpoint = server.stdout.readline().split()[-1]
    before = _resident_mb(server.pid)
    assert _pour(endpoint, mechanism, flag) < PARTS / 2  # socket buffers of the system take some
    assert _resident_mb(server.pid) - before < 8.0


def _flood(endpoint: str, part: bytes, is_over: threading.Event) -> None:
    """Begin a message and never end it; come back whenever the server hangs up."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    parts = part * max(2**18 // len(part), 1)
    while not is_over.is_set():
        with suppress(OSError), socket.create_connection((host, int(port)), 5.0) as stream:
            stream.sendall(_greeting(b"NULL") + bytes([4, len(READY)]) + READY)
            while not is_over.is_set():
                stream.sendall(parts)


def _cuts(device: Session) -> float:
    meters = {meter.name: meter for meter in device.metrics().meters}
    return meters["cut_connections_total"].series[0][1]


@pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel tells")
@pytest.mark.parametrize(
    ("part", "most_mb"),
    [
        # Beyond 16 MiB: what comes between two looks, on a busy machine.
        pytest.param(bytes([MORE_LONG]) + struct.pack(">Q", PART) + bytes(PART), 200.0, id="large"),
        # 2 bytes take 64 in libzmq.
        pytest.param(b"\1\0", 16 * 32 + 200.0, id="empty", marks=pytest.mark.slow),
    ],
)
def test_strangers_cannot_fill_the_memory_of_a_server_without_keys(cim_hal, part, most_mb):
    """Four of them, who never end a message, while somebody loads couplings and samples."""
    server = cim_hal("serve", "cim_machines:Annealer", "--no-journal")
    endpoint = server.stdout.readline().split()[-1]
    is_over, grown, found = threading.Event(), [], []
    arguments = (endpoint, part, is_over)
    strangers = [threading.Thread(target=_flood, args=arguments) for _ in range(4)]
    models = [_random(600, seed) for seed in range(4)]
    with open_device(endpoint, timeout_s=20.0) as device:
        device.sample(models[0], seed=0)
        before = _resident_mb(server.pid)
        for stranger in strangers:
            stranger.start()

        def watch() -> None:
            while not is_over.is_set():
                grown.append(_resident_mb(server.pid) - before)
                time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            found = [device.sample(model, n_runs=2, seed=0) for model in models]
            deadline = time.monotonic() + 30.0
            while _cuts(device) < 8 and time.monotonic() < deadline:
                time.sleep(0.1)
            cuts = _cuts(device)
        finally:
            is_over.set()
            for thread in (*strangers, watcher):
                thread.join()
    assert cuts >= 8
    assert max(grown) < most_mb
    with open_device(Annealer()) as alone:
        for model, samples in zip(models, found, strict=True):
            expected = alone.sample(model, n_runs=2, seed=0)
            np.testing.assert_array_equal(samples.amplitudes, expected.amplitudes)


def _random(n_spins: int, seed: int) -> IsingModel:
    upper = np.triu(np.random.default_rng(seed).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


# ---- the commands ---------------------------------------------------------------------------


def test_the_commands_of_the_manual_do_what_it_says(cim_hal, run, tmp_path):
    home, graph = tmp_path / "config" / "cim-hal", tmp_path / "ring.txt"
    graph.write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n4 1 1\n")
    for name in ("server", "client"):
        assert run("keys", "new", name) == (0, f"{home}/{name}.key\n{home}/{name}.pub\n", "")
    status, _, err = run("keys", "new", "client")
    assert (status, "not overwritten" in err, len(err.splitlines())) == (2, True, 1)
    who = ["--name", "alice", "--role", "user"]
    assert run("keys", "authorize", f"{home}/client.pub", *who) == (0, "", "")
    assert [c["name"] for c in json.loads(run("keys", "list", "--json")[1])] == ["alice"]
    assert "alice" in run("keys", "list")[1]

    log = tmp_path / "audit.jsonl"
    server = cim_hal(
        "serve", "cim_machines:Annealer", "--bind", "tcp://0.0.0.0:0",
        "--key", f"{home}/server.key", "--audit", str(log),
    )  # fmt: skip
    endpoint = "tcp://127.0.0.1:" + server.stdout.readline().rpartition(":")[2].strip()
    status, out, err = run("describe", endpoint)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "asks for keys" in err
    keys = ["--key", f"{home}/client.key", "--server-key", f"{home}/server.pub"]
    assert json.loads(run("describe", endpoint, "--json", *keys)[1])["name"] == "annealer"
    assert run("keys", "trust", endpoint, f"{home}/server.pub") == (0, "", "")
    status, out, _ = run("sample", endpoint, "--model", str(graph), "--runs", "4", "--json")
    assert (status, json.loads(out)["best_cut"]) == (0, 4.0)

    assert run("keys", "revoke", "alice")[0] == 0
    server.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30.0
    while (status := run("describe", endpoint)[0]) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 1
    server.send_signal(signal.SIGTERM)
    assert server.communicate(timeout=20) == ("", "")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events.count("job") == events.count("job ended") == 1
    assert {"connected", "refused", "clients read"} <= set(events)


def test_the_variables_name_the_keys_as_the_options_do(
    serving, authenticator, folder, run, monkeypatch
):
    monkeypatch.setenv("CIM_HAL_KEY", str(folder / "alice.key"))
    monkeypatch.setenv("CIM_HAL_SERVER_KEY", read_public(folder / "server.pub"))
    with serving(Annealer(), authenticator=authenticator) as endpoint:
        assert run("describe", endpoint)[0] == 0
    assert run("describe", "cim_machines:Annealer")[0] == 0  # where keys mean nothing


def test_studies_and_comparisons_reach_a_server_that_asks_for_keys(
    serving, authenticator, folder, run, tmp_path
):
    study, machine = tmp_path / "study.toml", "emulator-mean-field"
    keys = ["--key", str(folder / "alice.key"), "--server-key", str(folder / "server.pub")]
    np.savez(tmp_path / "pair.npz", J=[[0, 1], [1, 0]])
    with serving(make_driver(machine), authenticator=authenticator) as endpoint:
        study.write_text(STUDY.replace(machine, endpoint).replace("round_trips = [40, 200]", ""))
        options = [str(study), "--out", str(tmp_path / "out")]
        assert run("sweep", *options)[0] != 0  # nobody knows who that is
        status, _, err = run("sweep", *options, "--resume", *keys)
        assert status == 0, err
        assert run("sweep", "--row", "0", str(tmp_path / "out"), *keys)[0] == 0
        both = ["--device", endpoint, "--device", "emulator-550", "--runs", "8"]
        status, out, err = run("compare", str(tmp_path / "pair.npz"), *both, *keys, "--json")
        assert status == 0, err
        assert [each["target"] for each in json.loads(out)["devices"]] == [endpoint, "emulator-550"]
    assert len(rows_of(tmp_path / "out")) == 8


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["serve", "cim_machines:Annealer", "--authorized", __file__], 2, "needs --key"),
        (["serve", "cim_machines:Annealer", "--key", "no.key"], 2, "'no.key' does not exist"),
        (["keys", "list"], 2, "cannot read"),
        (["keys", "authorize", "no.pub", "--name", "x", "--role", "user"], 2, "cannot read no.pub"),
        (["keys", "authorize", "x" * 40, "--name", "x y", "--role", "user"], 2, "--name"),
        (["keys", "authorize", "x" * 40, "--name", "x", "--role", "root"], 2, "--role"),
        (["keys", "new", "../x"], 2, "no name"),
        (["describe", "tcp://127.0.0.1:1", "--key", "no.key"], 2, "server"),
    ],
)
def test_what_is_wrong_with_keys_is_one_line(run, arguments, status, sentence):
    found, out, err = run(*arguments)
    assert (found, out, len(err.splitlines())) == (status, "", 1)
    assert err.startswith("error: ")
    assert sentence in err


def test_a_server_whose_file_of_clients_is_missing_does_not_start(folder, tmp_path):
    with pytest.raises(KeyFileError, match=r"nobody\.toml"):
        Router(
            Annealer(),
            authenticator=Authenticator(read_pair(folder / "server.key"), tmp_path / "nobody.toml"),
        )
