"""Numbers at the ends of their ranges: each request is answered or refused, and nothing breaks."""

from __future__ import annotations

import itertools
import logging
import time
import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from cim_machines import Annealer
from cim_wire import PAYLOAD, REF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from cim_hal.machine.driver import Driver, Program, Readout, StopToken
from cim_hal.machine.telemetry import Calibration, Telemetry
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.service import Service

ENDS = (0, 1, 2, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1)
FLOAT_ENDS = (0.0, 5e-324, 1e-9, 1.0, 604800.0, 1e9, 2.0**63, 1e300, 1.7976931348623157e308)
TOKENS = ("0" * 31 + "1", "f" * 32)


class Machine(Driver):
    """A machine with every ability, so that every request gets as far as it can."""

    def describe(self) -> Any:
        return Annealer().describe().model_copy(update={"reports_trace": True})

    def run(self, program: Program, stop: StopToken) -> Readout:
        return Annealer().run(program, stop)

    def status(self) -> Telemetry:
        return Telemetry(readings=(), taken_at=1.0)

    def calibrate(self, stop: StopToken) -> Calibration:
        del stop
        return Calibration(valid_s=1e9, facts={})


def of_range(bounds: tuple[Any, ...], ends: tuple[Any, ...], kind: type) -> st.SearchStrategy[Any]:
    """Numbers at the ends of what is allowed, and between them."""
    allowed = [kind(n) for n in (*ends, *(-n for n in ends))]
    for bound in _flat(bounds):
        match bound:
            case Ge(ge):
                allowed = [n for n in [*allowed, kind(ge)] if n >= ge]
            case Gt(gt):
                allowed = [n for n in allowed if n > gt]
            case Le(le):
                allowed = [n for n in [*allowed, kind(le)] if n <= le]
            case Lt(lt):
                allowed = [n for n in [*allowed, kind(lt - 1)] if n < lt]
            case _:
                pass
    return st.sampled_from(sorted(set(allowed)))


def _flat(bounds: tuple[Any, ...]) -> list[Any]:
    return [each for bound in bounds for each in getattr(bound, "metadata", [bound])]


def values(hint: Any, bounds: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of the type of a field."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return values(args[0], (*args[1:], *bounds))
    of_generic = {
        typing.Union: lambda: st.one_of(*map(values, args)),
        types.UnionType: lambda: st.one_of(*map(values, args)),
        Literal: lambda: st.sampled_from(args),
        tuple: lambda: _tuples(args, _flat(bounds)),
        dict: lambda: st.just({}),
    }
    of_type = {
        type(None): st.none,
        bool: st.booleans,
        int: lambda: of_range(bounds, ENDS, int),
        float: lambda: of_range(bounds, FLOAT_ENDS, float),
        str: lambda: _texts(_flat(bounds)),
    }
    if origin is not None or hint in of_type:
        return of_generic[origin]() if origin is not None else of_type[hint]()
    if issubclass(hint, BaseModel):
        return of_model(hint)
    return st.sampled_from(list(hint))  # an enumeration


def _tuples(args: tuple[Any, ...], bounds: list[Any]) -> st.SearchStrategy[Any]:
    if args[-1] is not Ellipsis:
        return st.tuples(*map(values, args))
    least = max((bound.min_length for bound in bounds if isinstance(bound, MinLen)), default=0)
    most = min((bound.max_length for bound in bounds if isinstance(bound, MaxLen)), default=3)
    return st.lists(values(args[0]), min_size=least, max_size=min(most, 3)).map(tuple)


def _texts(bounds: list[Any]) -> st.SearchStrategy[str]:
    pattern = next((b.pattern for b in bounds if getattr(b, "pattern", None)), "")
    if "sha256" in pattern:
        return st.sampled_from([REF.digest, f"sha256:{'0' * 64}"])
    return st.sampled_from(TOKENS if pattern else ["", "x"])


def of_model(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Messages, or parts of them, that the schema allows."""
    hints = typing.get_type_hints(model, include_extras=True)
    fields = {
        name: values(hints[name], tuple(field.metadata))
        for name, field in model.model_fields.items()
    }
    return st.fixed_dictionaries(fields).map(lambda given: _made(model, given))


def _made(model: type[BaseModel], given: dict[str, Any]) -> Any:
    try:
        return model(**given)
    except ValueError:  # parts that do not belong together
        return None


ALL = [kind for kind in messages.REQUESTS if kind is not messages.Hello]


class Talk:
    """A server with a session, couplings, a job that is done and an upload under way."""

    def __init__(self) -> None:
        self.service = Service(Machine(), lambda: None)
        self.ids = itertools.count(1)
        self.session = ""
        self.session = self.ask(messages.Hello(protocols=((1, 0), (1, 0)))).session
        opened = self.ask(messages.BeginCouplings(coupling=REF, spec=PAYLOAD.spec))
        chunk = messages.CouplingChunk(upload=opened.upload, offset=0)
        self.ask(chunk, PAYLOAD.data)
        self.ask(messages.CommitCouplings(upload=opened.upload))
        sample = {"coupling": REF, "schedule": None, "n_runs": 2, "seed": 1}
        self.job = self.ask(messages.Sample(key=TOKENS[0], **sample)).job
        self.ask(messages.WaitJob(job=self.job, timeout_s=20.0))
        other = REF.model_copy(update={"digest": f"sha256:{'1' * 64}"})
        self.upload = self.ask(messages.BeginCouplings(coupling=other, spec=PAYLOAD.spec)).upload

    def ask(self, body: Any, *buffers: np.ndarray) -> Any:
        """Return the reply, which may come with an outcome; None where a wait goes on."""
        number = next(self.ids).to_bytes(16, "big")
        packet = Packet(Kind.REQUEST, number, body, self.session, buffers)
        request = decode([memoryview(frame) for frame in encode(packet)])
        replies = self.service.receive(b"p", request)
        for _ in range(400):
            for reply in replies:
                if reply.packet.id == number and reply.packet.kind is Kind.REPLY:
                    encode(reply.packet)  # it can be written
                    return reply.packet.body
            if getattr(body, "timeout_s", 0.0) and not isinstance(body, messages.WaitJob):
                return None
            if isinstance(body, messages.WaitJob) and body.timeout_s > 100:
                return None
            time.sleep(0.005)
            replies = self.service.settle()
        return None

    def named(self, body: Any) -> Any:
        """Return a request about what is there, where it names a token of what is not."""
        known = {"job": self.job, "upload": self.upload}
        names = {name: known[name] for name in known if getattr(body, name, None) == TOKENS[0]}
        if isinstance(body, messages.Sample):
            names["key"] = f"{next(self.ids):032x}"
        return body.model_copy(update=names)

    def calm(self) -> None:
        """Undo a stop and a lock: they would be the answer to all that follows."""
        self.ask(messages.ResetDevice(stop=self.ask(messages.SafetyInfo()).stop))
        self.ask(messages.UnlockDevice(breaks=self.ask(messages.LockInfo()).epoch))


@pytest.fixture(scope="module")
def talk():
    talk = Talk()
    yield talk
    talk.service.close()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_numbers_at_the_ends_of_their_ranges_are_answered_or_refused(talk, caplog, kind, data):
    body = data.draw(of_model(kind).filter(lambda body: body is not None))
    if isinstance(body, messages.Bye):
        return
    buffers = [np.zeros(4, np.uint8)] * kind.buffers[0]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        reply = talk.ask(talk.named(body), *buffers)
        talk.calm()
    if isinstance(reply, messages.ErrorMessage):
        assert "internal error" not in reply.message
        assert reply.code not in {"protocol.remote", "error"}
    assert not [record for record in caplog.records if record.exc_info]
