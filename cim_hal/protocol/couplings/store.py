"""Couplings that a server holds, and the messages about them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeAlias

from cim_hal.errors import (
    CapabilityError,
    InUseError,
    PermissionDeniedError,
    RemoteProtocolError,
    UnknownReferenceError,
)
from cim_hal.model.triangle import Triangle
from cim_hal.protocol.couplings.cache import CouplingCache, Key
from cim_hal.protocol.couplings.formats import keeps_dense, stored_bytes
from cim_hal.protocol.couplings.uploads import Uploads, check_base
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.index import page
from cim_hal.protocol.wire import messages

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.protocol.couplings.content import Couplings, LoweredCouplings
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["CouplingStore"]

Answer: TypeAlias = messages.CouplingsLoaded | messages.UploadOpened | Lower

MAX_LISTED = 100  # in one answer: they fit a header
# What couplings, and a way in which they were lowered, take beside their arrays: 2.9 kB of objects
# each, measured with three spins, and what the allocator adds.
ENTRY_BYTES = 4096


class CouplingStore:
    """What a server knows of couplings. Its methods answer a message each, or ask for work.

    Couplings and lowerings that are `in_use` are not dropped: jobs wait for them or run with them,
    or they wait to be lowered.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        limits: Limits,
        new_token: Callable[[], str],
        in_use: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        self._capabilities = capabilities
        self._limits = limits
        self._in_use = in_use
        self.uploads = Uploads(limits, new_token)
        self._cache = CouplingCache(limits, in_use)

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
        content: Couplings | None = self._cache.get(ref.digest, user)
        lowering: Lowering | None = self._cache.get(ref, user)
        if lowering is not None:
            return messages.CouplingsLoaded(coupling=ref, report=lowering.report)
        if content is not None:
            return Lower(ref, content)
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
        lowering: Lowering | None = self._cache.get(upload.coupling, user)
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
        if self._cache.peek(ref.digest) is None:
            size = ENTRY_BYTES + lowered.content.payload.data.nbytes
            self._cache.put(ref.digest, lowered.content, size, users)
        self._cache.put(ref, lowered.lowering, _size(lowered.lowering), users)
        self._cache.make_room(ref.digest, ref)
        return messages.CouplingsLoaded(coupling=ref, report=lowered.lowering.report)

    def report(self, ref: messages.CouplingRef) -> messages.CouplingsLoaded | None:
        """Return the answer to those who load couplings, if they are loaded already."""
        lowering: Lowering | None = self._cache.peek(ref)
        return lowering and messages.CouplingsLoaded(coupling=ref, report=lowering.report)

    def refuse(self, task: Lower) -> None:
        """Forget bytes that could not be prepared."""
        self.uploads.discard(task.coupling, task.source)

    # ---- what is held -----------------------------------------------------------------------

    def lowering(self, ref: messages.CouplingRef, user: str | None = None) -> Lowering:
        """Return loaded couplings; `UnknownReferenceError` if they are not here any more."""
        lowering: Lowering | None = self._cache.get(ref, user)
        if lowering is None:
            raise _unknown(ref.digest, "upload them again")
        return lowering

    def listing(self, first: int) -> messages.CouplingListing:
        """List what is held, the most recently used first, from the cursor `first` on."""
        groups, has_more = page(self._cache.by_use(first), MAX_LISTED)
        return messages.CouplingListing(
            first=first,
            total=self._cache.n_digests(),
            n_bytes=self._cache.n_bytes,
            cache_bytes=self._limits.cache_bytes,
            couplings=tuple(self._row(group.digest) for group in groups),
            cursor=groups[-1].used if has_more else 0,
        )

    def _row(self, digest: str) -> messages.HeldCouplings:
        content: Couplings | None = self._cache.peek(digest)
        return messages.HeldCouplings(
            digest=digest,
            n_spins=content.n_spins if content is not None else 0,
            n_bytes=self._cache.n_bytes_of(digest),
            fits=len(self._cache.keys(digest)) - (content is not None),
            in_use=self._in_use(digest),
        )

    def drop(self, user: str, digest: str, *, of_others: bool) -> messages.CouplingsDropped:
        """Drop couplings and everything derived from them. Return the number of bytes freed.

        Refused where jobs need them, or where others loaded them and it is not `of_others`.
        """
        if not self._cache.keys(digest):
            raise _unknown(digest, "couplings.list says which it holds")
        if not of_others and self._cache.users(digest) - {user}:
            raise PermissionDeniedError(
                "the couplings are another user's as well",
                hint="an operator may drop them",
                what="couplings.drop",
                required="operator",
                role="user",
            )
        if self._in_use(digest):
            raise InUseError(
                f"jobs need the couplings {digest[:19]}…",
                hint="wait for their end, or cancel them",
                digest=digest,
            )
        return messages.CouplingsDropped(digest=digest, n_bytes=self.forget(digest))

    def forget(self, digest: str) -> int:
        """Drop couplings, so that clients send them again. Return the number of bytes freed."""
        return sum(map(self._cache.drop, self._cache.keys(digest)))

    def _base(self, spec: messages.CouplingSpec) -> Couplings:
        base: Couplings | None = self._cache.get(spec.base)
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


def _unknown(digest: str, hint: str) -> UnknownReferenceError:
    return UnknownReferenceError(
        f"the server does not hold the couplings {digest[:19]}…", hint=hint, kind="coupling"
    )


def _size(lowering: Lowering) -> int:
    levels, others = lowering.levels, lowering.field.nbytes + lowering.gauge.nbytes
    if isinstance(levels, Triangle):
        return ENTRY_BYTES + levels.nbytes + others
    arrays = levels.data.nbytes + levels.indices.nbytes + levels.indptr.nbytes
    return ENTRY_BYTES + arrays + others
