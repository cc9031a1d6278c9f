"""Couplings that a server holds, in a store bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cim_hal.errors import (
    CapabilityError,
    InUseError,
    PermissionDeniedError,
    RemoteProtocolError,
    UnknownReferenceError,
)
from cim_hal.protocol.couplings.formats import keeps_dense, stored_bytes
from cim_hal.protocol.couplings.uploads import Uploads, check_base
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.wire import messages

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.protocol.couplings.content import Couplings, LoweredCouplings
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["CouplingStore", "LruStore"]

Answer: TypeAlias = messages.CouplingsLoaded | messages.UploadOpened | Lower

MAX_LISTED = 100  # in one answer: they fit a header


@dataclass
class _Stored:
    value: Any
    size: int
    used: int


class LruStore:
    """Values by key, bounded in bytes; the newest stays, and so do those whose key `is_pinned`."""

    def __init__(
        self, max_bytes: int, is_pinned: Callable[[Any], bool] = lambda _key: False
    ) -> None:
        self._max_bytes = max_bytes
        self._is_pinned = is_pinned
        self._n_bytes = 0
        self._entries: OrderedDict[Any, _Stored] = OrderedDict()  # the last used at the end
        self._n_uses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return self._n_bytes

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keep `value`, which takes `size` bytes."""
        self.drop(key)
        self._n_uses += 1
        self._entries[key] = _Stored(value, size, self._n_uses)
        self._n_bytes += size
        if self._n_bytes > self._max_bytes:
            self._make_room(key)

    def get(self, key: Any) -> Any | None:
        """Return the value, as the most recently used; None where there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        self._n_uses += 1
        stored = self._entries[key]
        stored.used = self._n_uses
        return stored.value

    def drop(self, key: Any) -> int:
        """Drop a value, if it is there. Return its number of bytes."""
        stored = self._entries.pop(key, None)
        if stored is None:
            return 0
        self._n_bytes -= stored.size
        return stored.size

    def items(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield key, value and size, the most recently used first. This is no use of them."""
        for key, stored in reversed(self._entries.items()):
            yield key, stored.value, stored.size

    def used(self, key: Any) -> int:
        """Return the number of the last use of a value; later uses have larger numbers."""
        return self._entries[key].used

    def _make_room(self, newest: Any) -> None:
        for key in list(self._entries):
            if self._n_bytes <= self._max_bytes:
                return
            if key != newest and not self._is_pinned(key):
                self.drop(key)


@dataclass(eq=False)
class _Held:
    content: Couplings
    owners: set[str] = field(default_factory=set)


class CouplingStore:
    """What a server knows of couplings. Its methods answer a message each, or ask for work.

    Couplings whose digest `in_use` returns are not dropped: jobs wait for them or run with them.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        limits: Limits,
        new_token: Callable[[], str],
        in_use: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._capabilities = capabilities
        self._limits = limits
        self._in_use = in_use
        self.uploads = Uploads(limits, new_token)
        # Contents by digest, and what was made of them for the machine by reference.
        self._store = LruStore(limits.cache_bytes, lambda key: _digest(key) in self._in_use())

    # ---- uploads ----------------------------------------------------------------------------

    def begin(
        self, session: str, user: str, request: messages.BeginCouplings, now: float
    ) -> Answer:
        """Answer that the couplings are here, ask to fit them again, or open an upload.

        Too large ones are refused before anything is sent, and a delta of others that are not here.
        """
        ref, spec = request.coupling, request.spec
        base: Couplings | None = None
        if spec.format != "delta":
            self._check_size(spec, stored_bytes(spec))
        held: _Held | None = self._store.get(ref.digest)
        lowering: Lowering | None = self._store.get(ref)
        if held is not None:
            held.owners.add(user)
        if lowering is not None:
            return messages.CouplingsLoaded(coupling=ref, report=lowering.report)
        if held is not None:
            return Lower(ref, held.content)
        if spec.format == "delta":
            base = self._base(spec)
        upload = self.uploads.open(session, user, request, base, now)
        return messages.UploadOpened(
            upload=upload.token,
            chunk_bytes=self._limits.chunk_bytes,
            credit=self._limits.credit,
            received=upload.received,
        )

    def commit(self, user: str, token: str, now: float) -> Answer:
        """Ask for a complete upload to be prepared; answer at once where that is done."""
        upload = self.uploads.get(user, token, now)
        lowering: Lowering | None = self._store.get(upload.coupling)
        if lowering is not None:
            return messages.CouplingsLoaded(coupling=upload.coupling, report=lowering.report)
        if upload.payload is None:
            raise UnknownReferenceError("the couplings were dropped", kind="coupling")
        missing = upload.n_bytes - upload.received
        if missing:
            raise RemoteProtocolError(f"the upload lacks {missing} bytes")
        return Lower(upload.coupling, upload.payload, upload.base)

    def keep(
        self, ref: messages.CouplingRef, lowered: LoweredCouplings, users: Collection[str] = ()
    ) -> messages.CouplingsLoaded:
        """Keep what was prepared, for all sessions.

        Uploads of it are done: their bytes go, and a commit that is sent again is answered.
        """
        self.uploads.finish(ref)
        held: _Held = self._store.get(ref.digest) or _Held(lowered.content)
        held.owners.update(users)
        self._store.put(ref.digest, held, held.content.payload.data.nbytes)
        self._store.put(ref, lowered.lowering, _size(lowered.lowering.coupling))
        for user in users:
            self._keep_to_quota(user, ref.digest)
        return messages.CouplingsLoaded(coupling=ref, report=lowered.lowering.report)

    def refuse(self, task: Lower) -> None:
        """Forget bytes that could not be prepared."""
        self.uploads.discard(task.source)

    # ---- what is held -----------------------------------------------------------------------

    def lowering(self, ref: messages.CouplingRef) -> Lowering:
        """Return loaded couplings; `UnknownReferenceError` if they are not here any more."""
        lowering: Lowering | None = self._store.get(ref)
        if lowering is None:
            raise _unknown(ref.digest, "upload them again")
        return lowering

    def listing(self, first: int) -> messages.CouplingListing:
        """List what is held, the most recently used first, from the cursor `first` on."""
        sizes: dict[str, list[int]] = {}
        used: dict[str, int] = {}
        for key, _, size in self._store.items():
            sizes.setdefault(_digest(key), []).append(size)
            used.setdefault(_digest(key), self._store.used(key))
        rest = [digest for digest in sizes if not first or used[digest] < first]
        page = rest[:MAX_LISTED]
        return messages.CouplingListing(
            first=first,
            total=len(sizes),
            n_bytes=self._store.n_bytes,
            cache_bytes=self._limits.cache_bytes,
            couplings=tuple(self._row(digest, sizes[digest]) for digest in page),
            cursor=used[page[-1]] if len(rest) > len(page) else 0,
        )

    def _row(self, digest: str, sizes: list[int]) -> messages.HeldCouplings:
        held: _Held | None = next(
            (value for key, value, _ in self._store.items() if key == digest), None
        )
        return messages.HeldCouplings(
            digest=digest,
            n_spins=held.content.n_spins if held is not None else 0,
            n_bytes=sum(sizes),
            fits=len(sizes) - (held is not None),
            in_use=digest in self._in_use(),
        )

    def drop(self, user: str, digest: str, *, of_others: bool) -> messages.CouplingsDropped:
        """Drop couplings and everything derived from them. Return the number of bytes freed.

        Refused where jobs need them, or where others loaded them and it is not `of_others`.
        """
        keys = self._keys(digest)
        if not keys:
            raise _unknown(digest, "couplings.list says which it holds")
        held: _Held | None = self._store.get(digest)
        if not of_others and (held is None or held.owners - {user}):
            raise PermissionDeniedError(
                "the couplings are another user's as well",
                hint="an operator may drop them",
                what="couplings.drop",
                required="operator",
                role="user",
            )
        if digest in self._in_use():
            raise InUseError(
                f"jobs need the couplings {digest[:19]}…",
                hint="wait for their end, or cancel them",
                digest=digest,
            )
        return messages.CouplingsDropped(digest=digest, n_bytes=sum(map(self._store.drop, keys)))

    def forget(self, digest: str) -> None:
        """Drop couplings that the journal has lost, so that clients send them again."""
        for key in self._keys(digest):
            self._store.drop(key)

    def _keys(self, digest: str) -> list[str | messages.CouplingRef]:
        """Return the keys of couplings and of all that was made of them."""
        return [key for key, _, _ in self._store.items() if _digest(key) == digest]

    def _keep_to_quota(self, user: str, newest: str) -> None:
        """Drop couplings that a user alone loaded, where they are more than one user may keep."""
        most = self._limits.user_cache_bytes
        if most is None:
            return
        sizes: dict[str, int] = {}
        for key, _, size in self._store.items():
            sizes[_digest(key)] = sizes.get(_digest(key), 0) + size
        held = {key: value for key, value, _ in self._store.items() if isinstance(key, str)}
        own = [digest for digest in sizes if digest in held and held[digest].owners == {user}]
        total = sum(sizes[digest] for digest in own)
        for digest in reversed(own):  # the least recently used first
            if total <= most:
                return
            if digest != newest and digest not in self._in_use():
                total -= sum(map(self._store.drop, self._keys(digest)))

    def _base(self, spec: messages.CouplingSpec) -> Couplings:
        held: _Held | None = self._store.get(spec.base)
        base = held and held.content
        check_base(spec, base)
        assert base is not None  # noqa: S101  for the type checker: check_base raised
        grown = 0 if keeps_dense(base.spec) else 24 * spec.nnz
        self._check_size(spec, stored_bytes(base.spec) + grown)
        return base

    def _check_size(self, spec: messages.CouplingSpec, stored: int) -> None:
        folds_field = spec.field_dtype is not None and not self._capabilities.has_field
        needs = spec.n_spins + folds_field
        available = min(self._capabilities.max_spins, self._limits.max_spins)
        if needs > available:
            hint = "the field takes one auxiliary spin" if needs - folds_field == available else ""
            raise CapabilityError("max_spins", required=needs, available=available, hint=hint)
        available = self._limits.coupling_bytes
        if stored > available:
            raise CapabilityError("coupling_bytes", required=stored, available=available)


def _digest(key: str | messages.CouplingRef) -> str:
    return key if isinstance(key, str) else key.digest


def _unknown(digest: str, hint: str) -> UnknownReferenceError:
    return UnknownReferenceError(
        f"the server does not hold the couplings {digest[:19]}…", hint=hint, kind="coupling"
    )


def _size(matrix: Any) -> int:
    if isinstance(matrix, np.ndarray):
        return matrix.nbytes
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
