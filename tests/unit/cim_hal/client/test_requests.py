"""Steps against a network that is a list: no socket, no sleep, a clock that the test moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cim_steps import run_steps
from cim_wire import CAPABILITIES

from cim_hal import Retries
from cim_hal.client.requests import RequestClient
from cim_hal.client.steps import Exchange, Exclusive, Pipeline, Sleep
from cim_hal.errors import (
    CimError,
    ConnectError,
    ModelError,
    QueueFullError,
    TransportTimeoutError,
    UnknownReferenceError,
)
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    ChunkTaken,
    CouplingChunk,
    CouplingsLoaded,
    Describe,
    Description,
    Hello,
    Ping,
    Pong,
    Welcome,
)
from cim_hal.protocol.wire.packet import answer

DESCRIPTION = Description(capabilities=CAPABILITIES, queued=0, busy=False)
TOKEN = "0" * 32
LATE = TransportTimeoutError("no answer")
LOST = ConnectError("lost")


class Network:
    """Does steps by a script: each exchange takes the next entry, a body or an error."""

    def __init__(self, *script, retries=Retries()) -> None:  # noqa: B008  frozen
        self.now, self.seen, self.paused, self.script = 0.0, [], [], list(script)
        self.client = RequestClient(timeout_s=5.0, retries=retries, clock=lambda: self.now)
        self.n_hellos = 0

    def run(self, steps):
        return run_steps(steps, self._do)

    def _do(self, step):
        match step:
            case Exclusive():
                return self.run(step.steps)
            case Sleep():
                self.paused.append(step.seconds)
                self.now += step.seconds
            case Pipeline():
                self._send_all(step)
            case Exchange(packet=packet) if isinstance(packet.body, Hello) and not self._scripted():
                self.n_hellos += 1
                return answer(packet, _welcome(self.n_hellos))
            case Exchange():
                return self._answer(step)
        return None

    def _scripted(self):
        return self.script and isinstance(self.script[0], Welcome)

    def _answer(self, step):
        self.seen.append(step.packet)
        outcome = self.script.pop(0) if self.script else LATE
        if isinstance(outcome, CimError):
            self.now += step.timeout_s if outcome is LATE else 0.01
            raise outcome
        return answer(step.packet, outcome)

    def _send_all(self, step):
        """Take a window, answer in the order that the script says: indices, or an error."""
        sent = []
        for order in self.script.pop(0):
            while len(sent) <= (order if isinstance(order, int) else 0):
                sent.append(next(step.packets))
            if isinstance(order, CimError):
                raise order
            self.seen.append(sent[order])
            step.take(answer(sent[order], ChunkTaken(upload=TOKEN, received=1)))
        if next(step.packets, None) is not None:
            raise LATE


def _welcome(number):
    return Welcome(
        protocol=(1, 1),
        server="bench",
        instance=TOKEN,
        session=f"{number:032x}",
        limits=Limits(),
        capabilities=CAPABILITIES,
    )


def _describe(network, **times):
    return network.run(network.client.ask(Describe(), Description, **times))


def test_what_is_acknowledged_goes_along_until_an_answer_comes():
    network = Network(FULL, DESCRIPTION, DESCRIPTION, DESCRIPTION)
    network.client.acknowledged = dict.fromkeys(jobs := [f"{n:032x}" for n in range(65)])
    for _ in range(3):
        _describe(network)
    first, rest = tuple(jobs[:64]), tuple(jobs[64:])
    assert [packet.acknowledged for packet in network.seen] == [first, first, rest, ()]
    assert not network.client.acknowledged


FULL = QueueFullError("64 jobs wait")


def test_the_error_of_the_server_is_not_hidden_by_an_attempt_that_is_cut_off():
    class Slow(Network):
        def _answer(self, step):
            if step.timeout_s < 0.8:
                self.now += step.timeout_s
                raise LATE
            self.now += 0.8
            raise FULL

    for _ in range(50):  # pauses are drawn
        network = Slow()
        with pytest.raises(QueueFullError):
            _describe(network)
        assert network.now <= 5.0


def test_a_request_to_its_end_pauses_to_the_end_only_where_its_outcome_is_unknown():
    network, steps = Network(FULL, LOST, LATE, DESCRIPTION), []

    def do(step):
        steps.append(step)
        return network._do(step)

    run_steps(network.client.ask(Describe(), Description, to_end=True), do)
    assert [s.to_end for s in steps if isinstance(s, Exchange)] == [True] * 4
    assert [s.to_end for s in steps if isinstance(s, Sleep)] == [False, True, True]


# ---- again, or not --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LOST, LATE, to_wire(QueueFullError("full"))])
def test_a_request_goes_again_with_the_same_id_after_an_error_that_is_retryable(error):
    network = Network(error, error, DESCRIPTION)
    assert _describe(network) == DESCRIPTION
    assert len(network.seen) == 3
    assert len({packet.id for packet in network.seen}) == 1


@pytest.mark.parametrize(
    "error", [to_wire(ModelError("no")), UnknownReferenceError("which?", kind="job")]
)
def test_any_other_error_is_raised_at_once(error):
    network = Network(error, DESCRIPTION)
    with pytest.raises(CimError):
        _describe(network)
    assert len(network.seen) == 1


def test_the_server_may_ask_for_a_longer_pause():
    full = to_wire(QueueFullError("full", retry_after_s=1.5))
    network = Network(full, DESCRIPTION)
    _describe(network)
    assert network.paused[-1] == 1.5


@pytest.mark.parametrize("asked", ["soon", math.nan, math.inf, True, None, -3.0])
def test_a_server_that_asks_for_nonsense_is_not_waited_for(asked):
    assert QueueFullError("full", retry_after_s=asked).retry_after_s <= 1.0


def test_a_pause_that_would_pass_the_deadline_is_not_begun():
    network = Network(to_wire(QueueFullError("full", retry_after_s=9.0)))
    with pytest.raises(QueueFullError):
        _describe(network)
    assert network.now < 1.0


def test_retries_can_be_limited():
    network = Network(LOST, LOST, DESCRIPTION, retries=Retries(limit=1))
    with pytest.raises(ConnectError):
        _describe(network)
    assert len(network.seen) == 2


# ---- how long -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LOST, LATE])
@pytest.mark.parametrize("allowed_s", [0.3, 2.0, 5.0, 60.0])
def test_no_request_lasts_longer_than_its_deadline_nor_than_the_time_of_an_answer(error, allowed_s):
    network = Network(*[error] * 1000)
    with pytest.raises(type(error)):
        _describe(network, deadline=allowed_s)
    least_s = min(allowed_s, 5.0)
    assert least_s - 0.15 <= network.now <= least_s + 1e-9


def test_a_call_without_time_left_asks_nobody():
    network = Network(DESCRIPTION)
    _describe(network)
    network.now = 7.0
    with pytest.raises(TransportTimeoutError):
        _describe(network, deadline=7.0)
    assert len(network.seen) == 1


def test_a_lost_answer_to_long_work_costs_a_second_and_a_ping():
    network = Network(LATE, Pong(), _loaded())
    begin = Describe()  # any request that may take the server two minutes
    network.run(network.client.ask(begin, CouplingsLoaded, work_s=120.0))
    assert [type(packet.body) for packet in network.seen] == [Describe, Ping, Describe]
    assert network.now <= 1.2


def test_long_work_is_waited_for_while_the_server_answers_pings():
    network = Network(*[LATE, Pong()] * 15, _loaded())
    network.run(network.client.ask(Describe(), CouplingsLoaded, work_s=120.0))
    assert network.now > 30.0


def test_long_work_of_a_server_that_is_silent_is_given_up_in_the_time_of_an_answer():
    network = Network(*[LATE] * 1000)
    with pytest.raises(TransportTimeoutError):
        network.run(network.client.ask(Describe(), CouplingsLoaded, work_s=120.0))
    assert network.now < 1.2 + 5.0


def _loaded():
    from cim_wire import REF

    from cim_hal import LoweringReport

    report = LoweringReport(
        bits=8,
        step=1.0,
        levels_used=1,
        max_error=0.0,
        rms_error=0.0,
        energy_error_bound=0.0,
        field_spin=False,
        gauge=False,
        machine_spins=2,
    )
    return CouplingsLoaded(coupling=REF, report=report)


# ---- sessions -------------------------------------------------------------------------------


def test_a_server_that_forgot_the_session_is_opened_again_and_asked_anew():
    gone = to_wire(UnknownReferenceError("who?", kind="session"))
    network = Network(gone, DESCRIPTION)
    _describe(network)
    assert network.n_hellos == 2
    assert [packet.session for packet in network.seen] == [f"{1:032x}", f"{2:032x}"]


def test_requests_that_lose_one_session_open_one_other():
    gone = to_wire(UnknownReferenceError("who?", kind="session"))
    network = Network(gone, gone, DESCRIPTION, DESCRIPTION)
    client = network.client
    asks = [client.ask(Describe(), Description) for _ in range(2)]
    network.run(client.hello())
    steps = [next(ask) for ask in asks]  # both have sent before either learns
    for ask, step in zip(asks, steps, strict=True):
        turn = ask.send(answer(step.packet, gone))
        network.run(turn.steps)
        again = ask.send(None)
        with pytest.raises(StopIteration):
            ask.send(answer(again.packet, DESCRIPTION))
    assert network.n_hellos == 2


# ---- pipelines ------------------------------------------------------------------------------


def _chunks(n):
    for offset in range(n):
        yield CouplingChunk(upload=TOKEN, offset=offset), np.zeros(1, np.uint8)


def _send(network, n, **times):
    return network.run(network.client.send_all(_chunks(n), ChunkTaken, window=4, **times))


def test_answers_that_overtake_each_other_are_taken():
    network = Network([2, 0, 3, 1, 4])
    _send(network, 5)
    assert [packet.body.offset for packet in network.seen] == [2, 0, 3, 1, 4]


def test_an_answer_that_comes_twice_is_taken_once():
    network = Network([0, 0, 1])
    _send(network, 2)


def test_after_a_break_only_what_is_unanswered_goes_again():
    network = Network([3, 1, LOST], [0, 1, 2, 3])
    _send(network, 6)
    offsets = [packet.body.offset for packet in network.seen]
    assert offsets == [3, 1, 0, 2, 4, 5]
    ids = {packet.body.offset: packet.id for packet in network.seen}
    assert len(set(ids.values())) == 6


def test_a_pipeline_goes_on_as_long_as_it_gets_on():
    network = Network(*[[0, LOST]] * 30, [0])
    network.client.clock = _jumping(network, 4.0)
    _send(network, 31)


def _jumping(network, step_s):
    def clock():
        network.now += step_s / 10
        return network.now

    return clock


def test_a_pipeline_that_gets_nowhere_ends_in_the_time_of_an_answer():
    network = Network(*[[LOST]] * 1000)
    with pytest.raises(ConnectError):
        _send(network, 3)
    assert network.now <= 5.0
