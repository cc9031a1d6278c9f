"""Requests to one server: sessions, retries and deadlines, as steps. No I/O."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from cim_hal.client.steps import Exchange, Exclusive, Pipeline, Sleep
from cim_hal.errors import (
    CapabilityError,
    CimError,
    ModelError,
    QuotaError,
    RemoteProtocolError,
    TransportError,
    TransportTimeoutError,
    UnknownReferenceError,
    rebuild,
)
from cim_hal.model.conversion import duration
from cim_hal.protocol.wire.base import Request
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.limits import MAX_ACKNOWLEDGED
from cim_hal.protocol.wire.messages import Bye, ErrorMessage, Hello, Message, Ping, Welcome
from cim_hal.protocol.wire.packet import ID_BYTES, NO_ID, Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.options import Retries
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.wire.messages import Description

__all__ = ["RequestClient", "Times", "checked"]

Answer = TypeVar("Answer", bound="Message")
Described = TypeVar("Described", "Welcome", "Description")

BYE_S = 1.0


class Times(TypedDict, total=False):
    """How long a request may take."""

    poll_s: float  # how long the server holds back its answer, as it was asked to
    work_s: float  # how long it may work, as long as it answers to a ping meanwhile
    deadline: float  # when to give up, on the clock
    # Whether a call that is cancelled goes on, up to the deadline, until it is known what the
    # server has done with the request.
    to_end: bool


class RequestClient:
    """Sends requests to one server and raises the errors that it answers with.

    If the server has forgotten the session, or was restarted, a new session is opened. A request
    is sent again, with the same id, after an error that is `retryable`, up to its deadline. The
    server may take `timeout_s` for an answer, on a `clock` that only grows.
    """

    def __init__(
        self, *, timeout_s: float, retries: Retries, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        self.clock = clock
        self.retries = retries
        self.epoch = 0  # of the lock this session holds, or thinks it holds; messages carry it
        self.acknowledged: dict[str, None] = {}  # jobs, until an answer shows that it was told
        self.settings: Mapping[str, float] = {}  # defaults for jobs, of a machine file
        self.welcome: Welcome | None = None  # the answer to the latest hello

    def deadline(self, timeout_s: float | None) -> float:
        """Return when a call that begins now must end; infinity where `timeout_s` is None."""
        if timeout_s is None:
            return math.inf
        return self.clock() + duration("timeout_s", timeout_s, ModelError)

    def remaining_s(self, deadline: float) -> float:
        """Return how many seconds are left; none are left after `deadline`."""
        return max(deadline - self.clock(), 0.0)

    def hello(self, deadline: float = math.inf) -> Steps[Welcome]:
        """Open a session unless one is open."""
        if self.welcome is None:
            yield self._turn(None, deadline)
        assert self.welcome is not None  # noqa: S101  our own doing, one line above
        return self.welcome

    def ask(self, body: Message, *expected: type[Answer], **times: Unpack[Times]) -> Steps[Answer]:
        """Send a request and return its answer; see `ask_packet`."""
        return (yield from self.ask_packet(body, *expected, **times))[0]

    def ask_packet(
        self, body: Message, *expected: type[Answer], **times: Unpack[Times]
    ) -> Steps[tuple[Answer, tuple[NDArray[Any], ...]]]:
        """Send a request and return its answer with the arrays that came with it."""
        deadline = times.get("deadline", math.inf)
        if isinstance(body, Request) and body.safety:  # works without a session
            reply = yield from self._asked(self.packet(body, self.welcome), **times)
            return checked(reply, expected), reply.buffers
        welcome = yield from self.hello(deadline)
        packet = self.packet(body, welcome)
        try:
            reply = yield from self._asked(packet, **times)
        except UnknownReferenceError as error:
            if error.details.get("kind") != "session":
                raise
            yield self._turn(welcome, deadline)
            packet = self.packet(body, (yield from self.hello(deadline)))
            reply = yield from self._asked(packet, **times)
        return checked(reply, expected), reply.buffers

    def send_all(
        self,
        requests: Iterable[tuple[Message, NDArray[Any]]],
        expected: type[Message],
        *,
        window: int,
        deadline: float = math.inf,
    ) -> Steps[None]:
        """Send requests with an array each, at most `window` of them unanswered.

        Answers may overtake each other. After an error only what is unanswered is sent again.
        """
        welcome = yield from self.hello(deadline)
        packets = (self.packet(body, welcome, array) for body, array in requests)
        flight = _InFlight(packets, expected)
        repeat = _RetryState(self, deadline)
        while not flight.is_over:
            before = flight.n_taken
            timeout_s = repeat.timeout_s(repeat.attempt.retry_after_s)
            pipeline = Pipeline(
                flight.outgoing(), window, timeout_s, deadline - self.clock(), flight.take
            )
            try:
                yield pipeline
            except CimError as error:
                if flight.n_taken > before:
                    repeat.progressed()
                yield Sleep(repeat.pause_s(error))

    def bye(self) -> Steps[None]:
        """End the session if the server can still be told."""
        if self.welcome is None:
            return
        packet = self.packet(Bye(), self.welcome)
        try:
            yield Exchange(packet, min(self.timeout_s, BYE_S))
        except CimError:
            return

    def _turn(self, stale: Welcome | None, deadline: float) -> Exclusive:
        timeout_s = max(min(deadline - self.clock(), self.timeout_s), 0.0)
        return Exclusive(self._hello(stale, deadline), timeout_s)

    def _hello(self, stale: Welcome | None, deadline: float) -> Steps[None]:
        if self.welcome is not stale:
            return  # another thread has sent it meanwhile
        hello = Hello(protocols=(OLDEST, NEWEST), client=f"cim-hal {version('cim-hal')}")
        packet = Packet(Kind.REQUEST, secrets.token_bytes(ID_BYTES), hello)
        # A server that is full lets silent sessions go within seconds.
        full = QuotaError, CapabilityError
        reply = yield from self._asked(packet, deadline=deadline, also_after=full)
        self.welcome = self.configured(checked(reply, (Welcome,)))

    def configured(self, answer: Described) -> Described:
        """Return an answer whose capabilities have the defaults of a machine file."""
        if not self.settings:
            return answer
        known = answer.capabilities.with_defaults(self.settings)
        return answer.model_copy(update={"capabilities": known})

    def _asked(
        self,
        packet: Packet,
        *,
        poll_s: float = 0.0,
        work_s: float = 0.0,
        deadline: float = math.inf,
        to_end: bool = False,
        also_after: tuple[type[CimError], ...] = (),
    ) -> Steps[Packet]:
        """Send a request until there is a reply, and raise the fault that it may be.

        It is sent again after an error that is `retryable`, or one of `also_after`.
        """
        repeat = _RetryState(self, deadline, poll_s + work_s, also_after)
        while True:
            timeout_s = repeat.timeout_s(repeat.attempt.retry_after_s + poll_s)
            try:
                reply = yield Exchange(packet, timeout_s, to_end)
                if isinstance(reply.body, ErrorMessage):
                    raise as_error(reply.body)
                for job in packet.acknowledged:
                    self.acknowledged.pop(job, None)
                return reply
            except CimError as error:
                # A server that refused the request has not carried it out: nothing to find out.
                is_unknown = isinstance(error, TransportError)
                yield Sleep(repeat.pause_s(error), to_end and is_unknown)
                if work_s and isinstance(error, TransportTimeoutError):
                    yield from self._check_life(deadline)

    def _check_life(self, deadline: float) -> Steps[None]:
        """Raise where the server does not answer a ping in the time of an answer."""
        if self.welcome is not None:
            yield from self._asked(self.packet(Ping(), self.welcome), deadline=deadline)

    def packet(self, body: Message, welcome: Welcome | None, *buffers: NDArray[Any]) -> Packet:
        """Return a new request of the session that `welcome` opened, or of none."""
        id_, session = secrets.token_bytes(ID_BYTES), welcome.session if welcome else ""
        acknowledged = tuple(self.acknowledged)[:MAX_ACKNOWLEDGED]
        return Packet(Kind.REQUEST, id_, body, session, buffers, self.epoch, acknowledged)


class _RetryState:
    """The attempts of one request, and the time that is left for them."""

    def __init__(
        self,
        client: RequestClient,
        deadline: float,
        extra_s: float = 0.0,
        also_after: tuple[type[CimError], ...] = (),
    ) -> None:
        self._also_after = also_after
        self._clock = client.clock
        self._allowed_s = client.timeout_s + extra_s
        self._deadline = deadline
        self._least_s = client.retries.base_s
        self._attempts = client.retries.attempts()
        self.attempt = next(self._attempts)
        self.progressed()

    def progressed(self) -> None:
        """Give the server the time of an answer again, if the caller has it."""
        self._began = self._sent = self._clock()
        self._give_up = min(self._deadline, self._began + self._allowed_s)

    def timeout_s(self, wanted_s: float) -> float:
        """Return how long to wait for a reply: no longer than there is time."""
        self._sent = self._clock()
        remaining_s = self._give_up - self._sent
        if remaining_s <= 0:
            raise self._gave_up(TransportTimeoutError("no answer"))
        return min(wanted_s, remaining_s)

    def pause_s(self, error: CimError) -> float:
        """Return how long to wait before the next attempt, or raise `error`."""
        attempt, self.attempt = self.attempt, next(self._attempts, self.attempt)
        now = self._clock()
        remaining_s = self._give_up - now
        # Twice what the answer took, for another attempt to be answered in time: one that is cut
        # off would hide the error that the server has answered with.
        answer_s = 0.0 if isinstance(error, TransportError) else 2 * (now - self._sent)
        is_late = remaining_s <= max(self._least_s, error.retry_after_s, answer_s)
        is_retryable = error.retryable or isinstance(error, self._also_after)
        if not is_retryable or is_late or attempt.pause_s == math.inf:
            raise self._gave_up(error)
        # At most half of what is left, so that another attempt has the other half.
        longest_s = min(remaining_s / 2, remaining_s - answer_s)
        return max(min(attempt.pause_s, longest_s), error.retry_after_s)

    def _gave_up(self, error: CimError) -> CimError:
        """Return the error with the time that was spent on it."""
        if not (isinstance(error, TransportError) and error.retryable):
            return error
        spent_s, allowed_s = self._clock() - self._began, self._give_up - self._began
        shown_s = allowed_s if spent_s > allowed_s / 2 else spent_s
        message = f"{error.message} within {max(shown_s, 0.0):.2g} s"
        return rebuild(type(error), message, error.hint, error.details)


class _InFlight:
    """Requests on their way: which are unanswered, and go again after an error."""

    def __init__(self, packets: Iterator[Packet], expected: type[Message]) -> None:
        self._source = packets
        self._expected = expected
        self._unanswered: dict[bytes, Packet] = {}
        self._is_drained = False
        self.n_taken = 0

    @property
    def is_over(self) -> bool:
        """Whether all is sent and answered."""
        return self._is_drained and not self._unanswered

    def outgoing(self) -> Iterator[Packet]:
        """Yield what was sent and not answered, then the rest."""
        yield from list(self._unanswered.values())
        for packet in self._source:
            self._unanswered[packet.id] = packet
            yield packet
        self._is_drained = True

    def take(self, reply: Packet) -> None:
        """Tick off a reply; one that came before is ignored."""
        if reply.id != NO_ID and self._unanswered.pop(reply.id, None) is None:
            return
        self.n_taken += 1
        checked(reply, (self._expected,))


def checked(reply: Packet, expected: tuple[type[Answer], ...]) -> Answer:
    """Return the message of a reply, which must be `expected`; a fault is raised."""
    if isinstance(reply.body, ErrorMessage):
        raise as_error(reply.body)
    if not isinstance(reply.body, expected):
        names = " or ".join(cls.__name__ for cls in expected)
        raise RemoteProtocolError(f"the server answered with {reply.body.t}, not with {names}")
    return reply.body
