from __future__ import annotations

import threading

import pytest

from cim_hal.errors import CimError, TargetError
from cim_hal.server.status_snapshot import StatusSnapshot
from cim_hal.watch.poller import Poller


class Script:
    """Gives one answer after another, and then the last one again."""

    def __init__(self, *answers: StatusSnapshot | Exception) -> None:
        self._answers = list(answers)
        self.closed = threading.Event()

    def __next__(self) -> StatusSnapshot:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed.set()


def test_a_poller_reads_again_and_again_and_closes_its_source_at_the_end():
    source, shown = Script(StatusSnapshot("a"), StatusSnapshot("b")), threading.Semaphore(0)
    with Poller(source, every_s=0.0, on_snapshot=lambda *_: shown.release()) as poller:
        for _ in range(3):
            assert shown.acquire(timeout=10.0)
        assert not source.closed.is_set()
    assert source.closed.is_set()
    assert poller.latest.target == "b"
    assert poller.n_polls >= 3
    assert poller.failure is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TargetError("no such device"), "no such device"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_any_exception_ends_it_with_a_failure_that_is_shown(error, sentence):
    source, troubles = Script(StatusSnapshot("a"), error), []

    def show(snapshot: StatusSnapshot, _history: object) -> None:
        troubles.append(snapshot.trouble)

    with Poller(source, every_s=0.0, on_snapshot=show) as poller:
        assert source.closed.wait(10.0)
    assert isinstance(poller.failure, CimError)
    assert sentence in str(poller.failure)
    assert [sentence in each for each in troubles] == [False, True]


def test_a_reader_that_fails_is_a_failure_too():
    def fail(*_: object) -> None:
        raise OSError("no room")

    source = Script(StatusSnapshot("a"))
    with Poller(source, every_s=0.0, on_snapshot=fail) as poller:
        assert source.closed.wait(10.0)
    assert "no room" in str(poller.failure)
