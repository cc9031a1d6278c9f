"""The requests about couplings, answered by the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError
from cim_hal.protocol.effects import Audit, Effect, Lower, Reply
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.evolution import as_of
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    DropCouplings,
    ListCouplings,
    Message,
    StatCouplings,
    UploadOpened,
)
from cim_hal.protocol.wire.packet import Packet, answer
from cim_hal.protocol.wire.roles import LEAST_FOR_OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.couplings.library import CouplingStore
    from cim_hal.protocol.wire.roles import User
    from cim_hal.protocol.wire.version import Version

__all__ = ["CouplingHandlers"]


@dataclass(frozen=True, eq=False)
class _Waiter:
    peer: bytes
    request: Packet
    user: str


class CouplingHandlers:
    """Answers requests about couplings; some of the answers come when the host has worked.

    Parameters
    ----------
    library : CouplingStore
    speaker : callable
        Returns the user of a session and the version agreed with it.
    """

    def __init__(
        self, library: CouplingStore, speaker: Callable[[str], tuple[User, Version]]
    ) -> None:
        self._library = library
        self._session_of = speaker
        self._preparing: dict[str, tuple[Lower, dict[bytes, _Waiter]]] = {}

    @property
    def handlers(
        self,
    ) -> Mapping[type[Message], Callable[[bytes, Packet, Any, float], list[Effect]]]:
        """What to call for each request."""
        return {
            BeginCouplings: self._begin,
            CouplingChunk: self._chunk,
            StatCouplings: self._stat,
            CommitCouplings: self._commit,
            ListCouplings: self._list,
            DropCouplings: self._drop,
        }

    def lowered(
        self, ticket: str, outcome: LoweredCouplings | CimError
    ) -> tuple[list[Packet], list[Effect]]:
        """Handle the outcome of a `Lower` effect; return its requests, and the effects."""
        task, waiting = self._preparing[ticket]
        waiters = list(waiting.values())
        if isinstance(outcome, CimError):
            self._library.refuse(task)
            body: Message = to_wire(outcome)
        else:
            body = self._library.keep(task.coupling, outcome, {w.user for w in waiters})
        del self._preparing[ticket]  # now: where the above fails, an error is told instead
        replies: list[Effect] = [Reply(w.peer, answer(w.request, body)) for w in waiters]
        return [w.request for w in waiters], replies

    def _begin(
        self, peer: bytes, request: Packet, begin: BeginCouplings, now: float
    ) -> list[Effect]:
        user, version = self._session_of(request.session)
        outcome = self._library.begin(request.session, user.name, begin, now)
        if isinstance(outcome, UploadOpened):
            outcome = as_of(outcome, version)
        return self._loading(peer, request, outcome)

    def _chunk(
        self, peer: bytes, request: Packet, chunk: CouplingChunk, now: float
    ) -> list[Effect]:
        taken = self._library.chunk(self._name(request), chunk, request.buffers[0], now)
        return [Reply(peer, answer(request, taken))]

    def _stat(self, peer: bytes, request: Packet, stat: StatCouplings, now: float) -> list[Effect]:
        missing = self._library.missing(self._name(request), stat.upload, now)
        return [Reply(peer, answer(request, missing))]

    def _commit(
        self, peer: bytes, request: Packet, commit: CommitCouplings, now: float
    ) -> list[Effect]:
        outcome = self._library.commit(self._name(request), commit.upload, now)
        return self._loading(peer, request, outcome)

    def _list(self, peer: bytes, request: Packet, ask: ListCouplings, _now: float) -> list[Effect]:
        return [Reply(peer, answer(request, self._library.listing(ask.first)))]

    def _drop(self, peer: bytes, request: Packet, drop: DropCouplings, _now: float) -> list[Effect]:
        user, _ = self._session_of(request.session)
        of_others = user.role >= LEAST_FOR_OTHERS[DropCouplings]
        dropped = self._library.drop(user.name, drop.digest, of_others=of_others)
        audit = Audit("couplings dropped", user, {"coupling": drop.digest})
        return [Reply(peer, answer(request, dropped)), audit]

    def _name(self, request: Packet) -> str:
        return self._session_of(request.session)[0].name

    def _loading(self, peer: bytes, request: Packet, outcome: Message | Lower) -> list[Effect]:
        if not isinstance(outcome, Lower):
            return [Reply(peer, answer(request, outcome))]
        waiter = _Waiter(peer, request, self._name(request))
        for task, waiters in self._preparing.values():
            if task.coupling == outcome.coupling and task.source is outcome.source:
                waiters[request.id] = waiter  # asked again, or by two: it is done once
                return []
        self._preparing[outcome.ticket] = (outcome, {request.id: waiter})
        return [outcome]
