"""Ctrl-C at any line of a connection: the session is closed all the same, and does not hang."""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import suppress

import pytest
import zmq

from cim_hal import open_device
from cim_hal.client.transport import base
from cim_hal.client.transport import zmq as connection
from cim_hal.client.transport.zmq import Handshake
from tests.support.descending import Descending


def test_a_session_that_is_closed_while_it_connects_ends():
    context = zmq.Context()
    ending = threading.Thread(target=context.term, daemon=True)
    with context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        with (
            suppress(zmq.ContextTerminated),
            Handshake(dealer, "tcp://127.0.0.1:9", keyed=False) as handshake,
        ):
            ending.start()
            handshake.wait(20.0)
    ending.join(20)
    assert not ending.is_alive()


class Interruption:
    """Raises KeyboardInterrupt at one line of the connection, by number, and counts lines."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.lines = 0
        self.where = ""

    def __call__(self, frame, event, _argument):
        if frame.f_code.co_filename not in (base.__file__, connection.__file__):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._at:
                self.where = f"{frame.f_code.co_name}, line {frame.f_lineno}"
                raise KeyboardInterrupt
        return self


def use(endpoint: str, interruption: Interruption) -> None:
    sys.settrace(interruption)
    try:
        with suppress(KeyboardInterrupt), open_device(endpoint) as session:
            session.ping()
    finally:
        sys.settrace(None)


# What was interrupted between making a socket and keeping it is left to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collectable")
def test_a_session_ends_wherever_it_is_interrupted(serving, monkeypatch):
    monkeypatch.setattr(connection, "ENDING_S", 0.05)
    at, is_interrupted = 0, True
    with serving(Descending()) as endpoint:
        while is_interrupted:
            at += 1
            interruption = Interruption(at)
            thread = threading.Thread(target=use, args=(endpoint, interruption), daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive(), f"interrupted in {interruption.where}"
            is_interrupted = interruption.lines >= at
    assert at > 50
    gc.collect()
