"""Messages about couplings: uploads, and what the server holds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cim_hal.model.record import LoweringReport
from cim_hal.protocol.wire.base import Digest, Number, Reply, Request, Token, Wire
from cim_hal.protocol.wire.roles import Role

__all__ = [
    "BeginCouplings",
    "ChunkTaken",
    "CommitCouplings",
    "CouplingChunk",
    "CouplingListing",
    "CouplingRef",
    "CouplingSpec",
    "CouplingsDropped",
    "CouplingsLoaded",
    "DropCouplings",
    "HeldCouplings",
    "ListCouplings",
    "MissingBytes",
    "StatCouplings",
    "UploadOpened",
]


class CouplingSpec(Wire):
    """How the bytes of couplings and field are to be read.

    ``triu``: J above its diagonal, row by row. ``coo``: rows (nnz), columns (nnz), values (nnz) of
    entries above the diagonal, sorted, no zeros; indices ``<u2`` up to 65,536 spins, else ``<i4``.
    ``delta``: the same, zeros allowed: what differs from the couplings `base`. ``dense``: J row by
    row. ``csr``: of all of J, row starts ``<i4`` (n + 1), columns ``<i4`` (nnz), values (nnz); rows
    sorted, no duplicates. Then the field, where `field_dtype` is not None.
    """

    format: Literal["triu", "coo", "delta", "dense", "csr"]
    n_spins: Annotated[int, Field(ge=1, lt=2**31)]
    dtype: Literal["bits", "trits", "|i1", "<i2", "<f4", "<f8"]
    field_dtype: Literal["|i1", "<i2", "<f4", "<f8"] | None = None
    nnz: Annotated[int, Field(ge=0, lt=2**31)] = 0
    keep: Literal["", "dense", "sparse"] = ""
    base: Digest | Literal[""] = ""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.format in ("dense", "triu") and self.nnz:
            raise ValueError(f"nnz = {self.nnz} means nothing in the format {self.format}")
        if self.dtype in ("bits", "trits") and self.format in ("dense", "csr"):
            raise ValueError(f"{self.dtype} are no dtype of the format {self.format}")
        if self.keep and self.format not in ("triu", "coo"):
            raise ValueError(f"keep = {self.keep!r} means nothing in the format {self.format}")
        if bool(self.base) != (self.format == "delta"):
            raise ValueError("base belongs to the format delta, and to no other")
        return self


class CouplingRef(Wire):
    """Couplings on a server: their content, and how they were lowered to its machine."""

    digest: Digest
    bits: Number | None = None
    gauge_seed: Number | None = None


class BeginCouplings(Request, role=Role.USER):
    """Announce couplings; answered by `CouplingsLoaded` where the server has them already."""

    t: Literal["couplings.begin"] = "couplings.begin"
    coupling: CouplingRef
    spec: CouplingSpec


class CouplingChunk(Request, role=Role.USER):
    """A piece of an upload, ``|u1 (bytes,)``; sending one twice does no harm."""

    buffers: ClassVar = (1, 1)

    t: Literal["couplings.chunk"] = "couplings.chunk"
    upload: Token
    offset: Number


class CommitCouplings(Request, role=Role.USER):
    """All chunks are sent: check the couplings, lower them to the machine, keep them."""

    t: Literal["couplings.commit"] = "couplings.commit"
    upload: Token


class StatCouplings(Request, role=Role.USER):
    """Ask which bytes of an upload are missing, after a connection broke."""

    t: Literal["couplings.stat"] = "couplings.stat"
    upload: Token


class ListCouplings(Request, role=Role.OBSERVER):
    """Ask what couplings the server holds: from the last used on, or from the cursor `first`."""

    t: Literal["couplings.list"] = "couplings.list"
    first: Number = 0


class DropCouplings(Request, role=Role.USER, of_others=Role.OPERATOR):
    """Drop couplings, unless jobs need them."""

    t: Literal["couplings.drop"] = "couplings.drop"
    digest: Digest


class UploadOpened(Reply):
    """Send the bytes: chunks of at most `chunk_bytes`, at most `credit` of them unanswered.

    `received` of them are here already: ``couplings.stat`` says which are not.
    """

    t: Literal["couplings.upload"] = "couplings.upload"
    upload: Token
    chunk_bytes: Annotated[int, Field(ge=1)]
    credit: Annotated[int, Field(ge=1)]
    received: Number = 0


class ChunkTaken(Reply):
    """The chunk is here, and `received` bytes in all."""

    t: Literal["couplings.taken"] = "couplings.taken"
    upload: Token
    received: Number


class MissingBytes(Reply):
    """The bytes of an upload that are missing: ranges from and up to, at most 1000 of them."""

    t: Literal["couplings.missing"] = "couplings.missing"
    upload: Token
    ranges: Annotated[tuple[tuple[Number, Number], ...], Field(max_length=1000)]


class HeldCouplings(Wire):
    """Couplings on a server: `n_bytes` in all, with `fits` ways in which they were lowered.

    `n_spins` is 0 where only what was made of them is left.
    """

    digest: Digest
    n_spins: Number
    n_bytes: Number
    fits: Number
    in_use: bool


class CouplingListing(Reply):
    """Couplings on the server, the most recently used first.

    Where `cursor` is not 0 there are more: ``couplings.list`` with `first` = `cursor` goes on. It
    counts uses on the server: couplings that are used meanwhile are not listed again.
    """

    t: Literal["couplings.listing"] = "couplings.listing"
    first: Number
    total: Number
    n_bytes: Number
    cache_bytes: Number
    couplings: Annotated[tuple[HeldCouplings, ...], Field(max_length=100)]
    cursor: Number = 0


class CouplingsDropped(Reply):
    """The couplings are gone, which freed `n_bytes`."""

    t: Literal["couplings.dropped"] = "couplings.dropped"
    digest: Digest
    n_bytes: Number


class CouplingsLoaded(Reply):
    """The couplings are ready to be sampled."""

    t: Literal["couplings.loaded"] = "couplings.loaded"
    coupling: CouplingRef
    report: LoweringReport
