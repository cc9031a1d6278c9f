"""Text of others, in every place where one may write: no command and no log line obeys it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import zmq
from cim_machines import Annealer
from hostile_text import HOSTILE, Babbler, controls

from cim_hal import IsingModel, open_device
from cim_hal.errors import CimError, ModelError
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.messages import Hello, LockDevice
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST
from cim_hal.server.logs import HumanFormatter
from cim_hal.server.status_snapshot import StatusSnapshot
from cim_hal.watch.pages import PageServer, StatusPage
from cim_hal.watch.poller import History

ARGUMENT = HOSTILE.replace("\0", "")  # no argument of a process has that
PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


@pytest.fixture
def folder(tmp_path):
    """A folder with a hostile name, and a model in a file with another."""
    folder = tmp_path / HOSTILE.replace("/", "").replace("\x00", "")[:60]
    folder.mkdir()
    (folder / "model\x1b[2J\n.txt").write_text("2 1\n1 2 1\n")
    return folder


def test_a_note_and_a_client_name_are_one_line_and_a_stop_is_never_refused_for_its_words(serving):
    with serving(Annealer()) as endpoint, open_device(endpoint) as session:
        with pytest.raises(ModelError, match="one line"):
            session.lock(note="see\nbelow")
        state = session.estop(HOSTILE)
        assert state.stop
        assert controls(state.reason) == set()
        assert "\n" not in state.reason
        session.reset(state.stop)


def test_no_command_emits_what_a_machine_says(serving, run, folder):
    model = str(next(folder.iterdir()))
    with serving(Babbler()) as endpoint, open_device(endpoint) as session:
        good = session.submit(PAIR, n_runs=1, keep=True)
        good.result()
        bad = session.submit(PAIR, n_runs=1, keep=True)
        with pytest.raises(CimError):
            bad.result()
        commands = [
            ("describe", endpoint),
            ("status", endpoint),
            ("monitor", endpoint, "--once"),
            ("jobs", endpoint, "list"),
            ("jobs", endpoint, "show", bad.id),
            ("jobs", endpoint, "wait", bad.id),
            ("couplings", endpoint, "list"),
            ("sample", endpoint, "--model", model, "--runs", "1"),
            ("sample", endpoint, "--model", model, "--runs", "1"),
            ("sample", endpoint, "--model", str(folder / "nothing\x1b[2J.npz")),
            ("conform", endpoint, "--only", ARGUMENT),
            ("estop", endpoint, "--reason", ARGUMENT[:150]),
            ("estop", endpoint, "--reason", ARGUMENT),
            ("reset", endpoint),
            ("lock", endpoint, "--note", ARGUMENT),
            ("lock", endpoint, "--show"),
            ("describe", ARGUMENT),
            (ARGUMENT,),
            ("describe", endpoint, "--key", ARGUMENT),
            ("keys", "new", ARGUMENT),
            ("keys", "trust", endpoint, ARGUMENT),
            ("chaos", "--target", ARGUMENT),
            ("serve", ARGUMENT, "--no-journal"),
            ("serve", "emulator", "--bind", ARGUMENT),
            ("serve", "emulator", "--limit", f"{ARGUMENT}=1"),
        ]
        for command in commands:
            _, out, err = run(*command)
            assert controls(out) == controls(err) == set(), command
            said = [
                line for line in (out + err).splitlines() if line.lstrip().startswith("error: f")
            ]
            assert said == [], command


def test_a_client_that_checks_nothing_is_refused(serving):
    session = ""
    with (
        serving(Annealer()) as endpoint,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as client,
    ):
        client.linger, client.rcvtimeo = 0, 20_000
        client.connect(endpoint)

        def ask(cls, **fields):
            body = cls.model_construct(t=cls.model_fields["t"].default, **fields)
            client.send_multipart(encode(Packet(Kind.REQUEST, bytes(16), body, session)))
            return decode(client.recv_multipart()).body

        versions = (OLDEST, NEWEST)
        assert ask(Hello, protocols=versions, client=HOSTILE[:90]).code == "protocol.local"
        session = ask(Hello, protocols=versions, client="me").session
        assert ask(LockDevice, key="0" * 32, note=HOSTILE[:90]).code == "protocol.local"


def test_a_page_carries_no_control_character(serving):
    with serving(Babbler()) as endpoint, open_device(endpoint) as session:
        session.telemetry()
        status, metrics = session.status(), session.metrics()
    page = StatusPage()
    page.update(StatusSnapshot(HOSTILE, status, metrics), History())
    with PageServer(("127.0.0.1", 0), page.pages) as server:
        data = urllib.request.urlopen(f"{server.url}status.json", timeout=20).read().decode()
    assert controls(data) == set()
    assert controls(json.dumps(json.loads(data), ensure_ascii=False)) == set()


def test_a_warning_that_quotes_a_file_moves_no_cursor(tmp_path):
    model = {"J": np.array([[0.0, 1.0], [1.0, 0.0]]), "no\x1b[2J\u202ete": np.array("text")}
    np.savez(tmp_path / "pair.npz", **model)
    command = [sys.executable, "-m", "cim_hal.cli", "sample", "emulator", "--model"]
    command.append(str(tmp_path / "pair.npz"))
    err = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "warning: " in err
    assert "which is not read" in err
    assert controls(err) == set()


def test_a_log_line_escapes_messages_fields_and_tracebacks(caplog):
    formatter = HumanFormatter()
    try:
        int(HOSTILE)
    except ValueError:
        logging.getLogger("lab").exception("%s", HOSTILE)
    text = formatter.format(caplog.records[-1])
    assert controls(text) == set()
    assert all(line.startswith("    | ") for line in text.splitlines()[1:])
