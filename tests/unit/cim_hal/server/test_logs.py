from __future__ import annotations

import io
import json
import logging
import os
import threading
import time

import pytest

from cim_hal.server import logs
from cim_hal.server.logs import (
    HumanFormatter,
    JsonFormatter,
    _QueuedFile,
    _UnhurriedHandler,
    about,
    event,
)


@pytest.fixture
def written():
    """A logger, and what it wrote as (people, program)."""
    logger = logging.Logger("lab")
    streams = []
    for formatter in (HumanFormatter(), JsonFormatter()):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        streams.append(stream)
    return logger, *streams


def test_a_line_says_what_its_thread_is_about(written):
    logger, people, program = written
    with about(session="5e551071", user="alice", job=""), about(job="de6d93aa"):
        logger.warning("the laser is %s", "warm")
    line = json.loads(program.getvalue())
    assert line["message"] == "the laser is warm"
    assert (line["level"], line["logger"]) == ("warning", "lab")
    assert (line["session"], line["user"], line["job"]) == ("5e551071", "alice", "de6d93aa")
    assert people.getvalue().endswith(
        "WARNING the laser is warm session=5e551071 user=alice job=de6d93aa\n"
    )


def test_what_a_block_was_about_ends_with_it(written):
    logger, _, program = written
    with about(job="1"):
        with about(job="2"):
            pass
        logger.info("in")
    logger.info("out")
    inside, outside = map(json.loads, program.getvalue().splitlines())
    assert inside["job"] == "1"
    assert "job" not in outside


def test_another_thread_is_about_nothing_of_ours(written):
    logger, _, program = written
    with about(job="1"):
        thread = threading.Thread(target=logger.info, args=["elsewhere"])
        thread.start()
        thread.join()
    assert "job" not in json.loads(program.getvalue())


def test_an_event_has_fields_and_keeps_their_types(written):
    logger, people, program = written
    event(logger, "job ended", {"job": "1", "device_s": 0.5, "n": 3, "note": "a b", "none": None})
    line = json.loads(program.getvalue())
    assert line["event"] == "job ended"
    assert (line["device_s"], line["n"], line["none"]) == (0.5, 3, None)
    assert people.getvalue().endswith(
        'INFO job ended job=1 device_s=0.5 n=3 note="a b" none=None\n'
    )


@pytest.mark.parametrize("hostile", ["a\nERROR forged", "\x1b[2J", "a\rb", "\u202eevil", 'x" y="'])
def test_what_comes_from_outside_forges_no_line(written, hostile):
    logger, people, program = written
    event(logger, "session", {"client": hostile})
    logger.warning("refused: %s", hostile)
    lines = [line for line in people.getvalue().split("\n") if not line.startswith("    | ")]
    assert len(lines[:-1]) == len(program.getvalue().splitlines()) == 2
    assert all(line[:4].isdigit() for line in lines[:-1])
    assert all(char.isprintable() for char in people.getvalue().replace("\n", ""))
    assert json.loads(program.getvalue().splitlines()[0])["client"] == hostile


def test_a_traceback_goes_along(written):
    logger, people, program = written
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("no light")
    assert "ZeroDivisionError: division by zero" in people.getvalue()
    assert "ZeroDivisionError" in json.loads(program.getvalue())["traceback"]


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_the_loss_is_told():
    read_end, write_end = os.pipe()
    with (
        os.fdopen(write_end, "w", encoding="utf-8") as stream,
        os.fdopen(read_end, "rb", 0) as reader,
    ):
        logger = logging.Logger("lab")
        handler = _UnhurriedHandler(stream)
        handler.setFormatter(HumanFormatter())
        logger.addHandler(handler)
        for _ in range(2000):  # a pipe holds 64 KiB
            logger.warning("x" * 500)
        assert handler.n_lost > 1000
        reader.read(1 << 20)
        logger.warning("somebody reads again")
        text = reader.read(1 << 20).decode()
    assert "of the log, which nobody read" in text
    assert "somebody reads again" in text


def test_a_disk_that_does_not_answer_holds_up_nobody_and_the_audit_log_says_what_it_lost(
    monkeypatch,
):
    monkeypatch.setattr(logs, "MAX_QUEUED", 100)
    read_end, write_end = os.pipe()  # full after 64 KiB, and read by nobody yet
    logger, handler = logging.Logger("audit"), _QueuedFile(write_end)
    logger.addHandler(handler)
    for n in range(1000):
        logger.warning("%s", f"{n} {'x' * 1000}")
    closing = threading.Thread(target=handler.close)
    closing.start()
    with os.fdopen(read_end, encoding="utf-8") as reader:
        lines = [json.loads(line) for line in reader]  # to the end of the file
    closing.join()
    written = [int(line["message"].split()[0]) for line in lines if "message" in line]
    assert written == sorted(written)
    assert len(written) + sum(line.get("count", 0) for line in lines) == 1000
    assert 100 <= len(written) < 500
    assert lines[-1]["event"] == "lines lost"


def test_a_full_disk_is_said_once_and_the_audit_log_goes_on(caplog, tmp_path):
    logger, handler = logging.Logger("audit"), _QueuedFile(os.open("/dev/full", os.O_WRONLY))
    logger.addHandler(handler)
    for n in range(3):
        logger.warning("lost %d", n)
    while handler._n_lost < 3:
        time.sleep(0.001)
    assert [record.message[:30] for record in caplog.records] == ["the audit log loses lines: it "]
    file = os.open(tmp_path / "audit", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, handler._file)  # there is room again
    logger.warning("written")
    handler.close()
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [line.get("count") or line["message"] for line in lines] == [3, "written"]
