"""A core without a transport: packets in, and a host that does its effects at once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal import Capabilities, IsingModel, Program
from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings import Content, prepare
from cim_hal.protocol.effects import Audit, Effect, Prepare, Reply, Run
from cim_hal.protocol.limits import Limits
from cim_hal.protocol.messages import (
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    Fault,
    Hello,
    Message,
    Sample,
)
from cim_hal.protocol.packet import Kind, Packet
from cim_hal.protocol.results import Measured, pack_spins
from cim_hal.protocol.roles import ANONYMOUS, User
from cim_hal.protocol.version import NEWEST, OLDEST

if TYPE_CHECKING:
    from collections.abc import Iterable

CAPABILITIES = Capabilities(
    name="bench", max_spins=8, coupling_bits=8, max_runs=100, reports_amplitudes=False
)
MODEL = IsingModel.from_couplings([[0, 1], [1, 0]])
PAYLOAD = Content.of(MODEL).payload
REF = CouplingRef(digest=PAYLOAD.digest())


class Bench:
    """One peer of a core, with a clock that the test moves."""

    def __init__(
        self, capabilities: Capabilities = CAPABILITIES, *, first_epoch: int = 1, **limits: Any
    ) -> None:
        numbers = itertools.count(1)
        self.core = ServerCore(
            capabilities,
            Limits(**limits),
            new_token=lambda: f"{next(numbers):032x}",
            first_epoch=first_epoch,
        )
        self.ids = itertools.count(1)
        self.now = 0.0
        self.user: User = ANONYMOUS
        self.audited: list[Audit] = []

    def send(
        self,
        body: Message,
        session: str = "",
        *buffers: np.ndarray,
        peer: bytes = b"p",
        epoch: int = 0,
    ) -> list[Effect]:
        """Hand a request to the core; the answer to it, if any, is the last of its replies.

        What is to be written down goes to `audited`.
        """
        packet = Packet(
            Kind.REQUEST, next(self.ids).to_bytes(16, "big"), body, session, tuple(buffers), epoch
        )
        effects = self.core.receive(peer, packet, self.now, user=self.user)
        self.audited += [effect for effect in effects if isinstance(effect, Audit)]
        return [effect for effect in effects if not isinstance(effect, Audit)]

    def ask(self, body: Message, session: str = "", *buffers: np.ndarray) -> Any:
        """Send a request that is answered at once, and return the body of the answer."""
        (reply,) = replies(self.send(body, session, *buffers))
        return reply

    def hello(self) -> str:
        return self.ask(Hello(protocols=(OLDEST, NEWEST))).session

    def load(self, session: str) -> CouplingRef:
        opened = self.ask(BeginCouplings(coupling=REF, spec=PAYLOAD.spec), session)
        if opened.t == "couplings.loaded":
            return REF
        self.ask(CouplingChunk(upload=opened.upload, offset=0), session, PAYLOAD.data)
        (task,) = self.send(CommitCouplings(upload=opened.upload), session)
        assert isinstance(task, Prepare)
        outcome = prepare(task.source, task.coupling, CAPABILITIES, task.base)
        (reply,) = self.core.prepared(task.ticket, outcome, self.now)
        assert isinstance(reply, Reply)
        assert not isinstance(reply.packet.body, Fault)
        return REF

    def sample(self, session: str, key: int = 1, **changes: Any) -> list[Effect]:
        return self.send(sample_request(key, **changes), session)


def sample_request(key: int = 1, **changes: Any) -> Sample:
    fields = {"coupling": REF, "schedule": None, "n_runs": 2, "seed": 7} | changes
    return Sample(key=f"{key:032x}", **fields)


def replies(effects: Iterable[Effect]) -> list[Any]:
    return [effect.packet.body for effect in effects if isinstance(effect, Reply)]


def runs(effects: Iterable[Effect]) -> list[Run]:
    return [effect for effect in effects if isinstance(effect, Run)]


def measured(program: Program) -> Measured:
    """A result with all spins up."""
    n_spins = program.n_spins - program.lowering.report.field_spin
    spins = np.ones((program.n_runs, n_spins), dtype=np.int8)
    return Measured(pack_spins(spins), None, n_spins, 0.5)
