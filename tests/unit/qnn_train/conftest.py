"""A machine that only guesses, and two digits to tell apart."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from guessing_bench import GuessingCim

from cim_hal.server.router import Router
from qnn_train import load_digits

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="session")
def _guessing_endpoint():
    with Router(GuessingCim()) as router:
        thread = threading.Thread(target=router.serve)
        thread.start()
        try:
            yield router.endpoint
        finally:
            router.stop()
            thread.join()


@pytest.fixture
def guessing(_guessing_endpoint, monkeypatch, tmp_path):
    """Address of a server in this process; the current folder is one of the test's own."""
    monkeypatch.chdir(tmp_path)
    return _guessing_endpoint


@pytest.fixture
def guessing_driver(monkeypatch, tmp_path):
    """Name of the driver, which a server in a process of its own can import."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=":")
    monkeypatch.chdir(tmp_path)
    return "guessing_bench:GuessingCim"


@pytest.fixture(scope="module")
def pair():
    return load_digits().pair(3, 6)
