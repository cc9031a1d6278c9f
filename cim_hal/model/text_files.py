"""Model files of text: graphs, QUBOs and couplings, an entry in each line.

Numbers are decimal, spins are counted from 1 or 0, and each pair stands once, in either order.
Anything else is refused with its line.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.text import counted, printable

if TYPE_CHECKING:
    from cim_hal.model.conversion import CsrArray

__all__ = [
    "MATRIX_IS_J",
    "MATRIX_MARKET",
    "MAX_FILE_SPINS",
    "READINGS",
    "TextModel",
    "check_matrix_market",
    "read_text",
]

MAX_FILE_SPINS = 1_000_000
MATRIX_MARKET = "%%matrixmarket"
MATRIX_IS_J = "J of E = -1/2 s'Js"  # a comment of matrices that are written here
VARTYPE = re.compile(r"vartype\s*[:=]\s*(\w+)", re.IGNORECASE)
INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# suffixes of files with a line "n m" that say another thing than a graph
OPEN = {
    ".qubo": ("without a line 'p qubo' may be a symmetric matrix Q", "qubo, maxcut or ising"),
    ".bq": ("may be a symmetric matrix Q", "qubo, maxcut or ising"),
    ".gsg": ("may be a spin glass", "ising, maxcut or qubo"),
    ".sg": ("may be a spin glass", "ising, maxcut or qubo"),
    ".qh": ("may be a Hamiltonian of spins", "ising, maxcut or qubo"),
}
# what comments of a qbsolv file may say that the format has no place for
UNREAD = re.compile(rf"c\s+(scale|offset)\s*[:=]\s*({NUMBER.pattern})")
READINGS = {
    "maxcut": "the weights of a graph (MAX-CUT)",
    "qubo": "entries of a symmetric matrix Q (QUBO)",
    "ising": "terms w s_i s_j and w s_i of an energy (Ising)",
}


@dataclass(frozen=True)
class TextModel:
    """What a text file says.

    Attributes
    ----------
    layout : str
        ``gset`` or, if it holds a matrix Q, ``biqmac`` (with a line "n m"); ``qbsolv`` or ``coo``.
    reading : str
        ``maxcut``, ``qubo`` or ``ising``.
    entries : sparse array, shape (n, n)
        Each entry once, on or above the diagonal.
    """

    layout: str
    reading: str
    entries: CsrArray


@dataclass(frozen=True)
class _Line:
    file: str
    number: int
    words: list[str]

    def refuse(self, what: str, *, hint: str = "") -> NoReturn:
        raise ModelError(f"{self.file}:{self.number}: {what}", hint=hint)

    @property
    def said(self) -> str:
        return repr(" ".join(self.words)[:60])

    def integers(self, what: str) -> list[int]:
        """Return the words as integers of at most 15 digits."""
        if not all(INTEGER.fullmatch(word) and len(word) <= 16 for word in self.words):
            self.refuse(f"{self.said} is not {what}")
        return [int(word) for word in self.words]

    def weight(self, word: str) -> float:
        value = float(word) if NUMBER.fullmatch(word) else math.nan
        if not math.isfinite(value):
            self.refuse(f"{word[:40]!r} is not a finite decimal number")
        if value == 0 and re.search(r"[1-9]", re.split("[eE]", word)[0]):
            self.refuse(f"{word[:40]} is too small for float64")
        if INTEGER.fullmatch(word) and int(word) != value:
            self.refuse(f"{word[:40]} is an integer that float64 would round")
        return value


def read_text(text: str, file: str, suffix: str, reading: str | None) -> TextModel:
    """Read the text of a file.

    Parameters
    ----------
    file, suffix : str
        The name for errors; the suffix, without that of a compression.
    reading : str, optional
        ``maxcut``, ``qubo`` or ``ising`` where the file leaves it open.

    Raises
    ------
    ModelError
        The text is malformed, repeats a pair, or can be read in several ways.
    """
    lines = _Lines(text, file)
    first = next(lines, None)
    if first is not None and first.words[0] == "p":
        return _qbsolv(first, lines, reading)
    if lines.vartype or (first is not None and len(first.words) == 3):
        return _coo(first, lines, file, reading)
    if first is None:
        raise ModelError(f"{file} has only blank lines and comments")
    return _with_header(first, lines, suffix, reading)


def check_matrix_market(text: str, file: str) -> list[int]:
    """Return the two or three sizes of a matrix of Matrix Market, once each line was looked at.

    scipy reads 1_0 as 1, takes 1.5 for an integer, and leaves out what stands behind an entry.

    Raises
    ------
    ModelError
        Its sizes are not what it holds, or a line is not an entry.
    """
    lines = (
        _Line(file, number, line.split())
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and line.lstrip()[0] != "%"
    )
    sizes = next(lines, _Line(file, 1, []))
    kinds = text.partition("\n")[0].lower().split()
    ends = 2 * (kinds[2:3] == ["coordinate"])
    if len(sizes.words) != (3 if ends else 2) or not all(map(str.isdecimal, sizes.words)):
        sizes.refuse(f"the file is no Matrix Market file: its sizes are {sizes.said}")
    shape = sizes.integers("sizes")
    if max(shape[:2]) > MAX_FILE_SPINS or (shape[2] if ends else shape[0] * shape[1]) > len(text):
        sizes.refuse(f"the sizes {sizes.said} are more than it holds or is read")
    n_values = {"pattern": 0, "complex": 2}.get("".join(kinds[3:4]), 1)
    for line in lines:
        if len(line.words) != ends + n_values:
            line.refuse(f"{line.said} is not an entry")
        _Line(file, line.number, line.words[:ends]).integers("a pair")
        for word in line.words[ends:]:
            line.weight(word)
            if kinds[3:4] == ["integer"] and not INTEGER.fullmatch(word):
                line.refuse(f"{word[:40]} is no integer, which the first line promises")
    return shape


class _Lines(Iterator[_Line]):
    """The lines that say something; a comment may say which variables there are."""

    def __init__(self, text: str, file: str) -> None:
        self.vartype = ""
        self.unread: list[str] = []
        self._lines = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
        self._file = file

    def __next__(self) -> _Line:
        for number, text in self._lines:
            words = text.split()
            if words and not (words[0][0] in "#%" or words[0] == "c"):
                return _Line(self._file, number, words)
            told = UNREAD.match(text.strip())
            if told is not None and float(told[2]) != (told[1] == "scale"):
                self.unread.append(f"{told[1]} {told[2]}")
            said = VARTYPE.search(text) if words else None
            if said is not None:
                self._take_vartype(_Line(self._file, number, words), said[1].upper())
        raise StopIteration

    def _take_vartype(self, line: _Line, vartype: str) -> None:
        if vartype not in ("SPIN", "BINARY"):
            line.refuse(f"vartype {vartype[:20]} is not read", hint="SPIN and BINARY are")
        if self.vartype not in ("", vartype):
            line.refuse(f"vartype {vartype}, after vartype {self.vartype}")
        self.vartype = vartype


def _qbsolv(first: _Line, lines: _Lines, reading: str | None) -> TextModel:
    """Read ``p qubo 0 n diagonals couplers``; spins from 0, energy = sum of w x_i x_j, i <= j."""
    expected = "'p qubo 0 maxNodes nNodes nCouplers'"
    if first.words[1:2] != ["qubo"] or len(first.words) != 6:
        first.refuse(f"{first.said} is not a header of qbsolv", hint=f"expected {expected}")
    _check_reading(first, reading, "qubo", "has a line 'p qubo'")
    n, *counts = _Line(first.file, first.number, first.words[3:]).integers("three numbers")
    _check_size(first, n)
    entries = _Entries(first.file, base=0)
    for line in lines:
        entries.add(line)
    entries.check_ends(n)
    found = [sum(entries.diagonal()), len(entries) - sum(entries.diagonal())]
    if found != counts:
        first.refuse(
            f"the header says {counted(counts[0], 'node')} and {counted(counts[1], 'coupler')}, "
            f"the file has {found[0]} and {found[1]}"
        )
    if lines.unread:
        what = f"{first.file}: its comments say {', '.join(lines.unread)}, which is not read"
        warnings.warn(printable(what), stacklevel=5)
    return TextModel("qbsolv", "qubo", entries.matrix(n))


def _coo(first: _Line | None, lines: _Lines, file: str, reading: str | None) -> TextModel:
    """Read lines "i j w", spins from 0; dimod writes the kind of variables into a comment."""
    entries = _Entries(file, base=0)
    for line in [first] if first else []:
        entries.add(line)
    for line in lines:
        entries.add(line)
    if first is None:
        raise ModelError(f"{file} has no entries")
    told = {"SPIN": "ising", "BINARY": "qubo", "": reading}[lines.vartype]
    if told in (None, "maxcut"):
        first.refuse(
            f"{first.said} begins neither a graph, with a line 'n m', nor says '# vartype: SPIN' "
            "or BINARY",
            hint="pass format (--format) ising or qubo, if spins are counted from 0",
        )
    _check_reading(first, reading, told or "", f"says vartype {lines.vartype}")
    n = 1 + max(max(ends) for ends in entries.ends)
    _check_size(first, n)
    return TextModel("coo", told or "", entries.matrix(n))


def _with_header(
    first: _Line, lines: Iterable[_Line], suffix: str, reading: str | None
) -> TextModel:
    """Read a line "n m" and m lines "i j w" (G-set, rudy, Biq Mac), spins from 1, or from 0.

    Those of a Qubist file (``.qh``) are counted from 0.
    """
    if len(first.words) != 2 or not all(map(INTEGER.fullmatch, first.words)):
        first.refuse(
            f"{first.said} is not a G-set header",
            hint="the first line must be 'n m', the numbers of spins and edges",
        )
    n, m = first.integers("a G-set header")
    _check_size(first, n, m)
    entries = _Entries(first.file, base=0 if suffix == ".qh" else 1)
    for line in lines:
        entries.add(line)
        if len(entries) > m:
            says = f"the header says {counted(m, 'edge')}, the file has more than {m}"
            raise ModelError(f"{first.file}: {says}")
    if len(entries) != m:
        raise ModelError(
            f"{first.file}: the header says {counted(m, 'edge')}, the file has {len(entries)}"
        )
    entries.check_ends(n)
    reading = _reading(first, suffix, reading, entries)
    return TextModel("biqmac" if reading == "qubo" else "gset", reading, entries.matrix(n))


def _reading(first: _Line, suffix: str, reading: str | None, entries: _Entries) -> str:
    if reading is None and suffix in OPEN:
        what, formats = OPEN[suffix]
        first.refuse(
            f"a {suffix} file {what}, or a graph", hint=f"pass format (--format) {formats}"
        )
    reading = reading or ("qubo" if suffix == ".sparse" else "maxcut")
    if reading == "maxcut" and any(entries.diagonal()):
        at = entries.diagonal().index(True)
        end = entries.ends[at][0] + entries.base
        what = f"edge {at + 1} joins {end} and {end}"
        entries.lines[at].refuse(
            what, hint="no edge of a graph does; pass format (--format) qubo if this is a matrix Q"
        )
    return reading


class _Entries:
    """Entries as they are read, their spins counted from 0."""

    def __init__(self, file: str, *, base: int) -> None:
        self.file, self.base = file, base
        self.ends: list[tuple[int, int]] = []
        self.weights: list[float] = []
        self.lines: list[_Line] = []
        self._seen: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.ends)

    def add(self, line: _Line) -> None:
        """Take a line "i j w"; w is 1 if it is left out of an edge of a graph."""
        words = line.words
        n_words = (2, 3) if self.base else (3,)
        if len(words) not in n_words or not all(map(INTEGER.fullmatch, words[:2])):
            line.refuse(f"{line.said} is not an edge", hint="expected 'i j w'")
        i, j = _Line(line.file, line.number, words[:2]).integers("a pair")
        pair = (i, j) if i < j else (j, i)
        if pair in self._seen:
            line.refuse(f"{i} {j} stands in line {self._seen[pair]} already", hint="each pair once")
        self._seen[pair] = line.number
        self.ends.append((pair[0] - self.base, pair[1] - self.base))
        self.weights.append(line.weight(words[2]) if len(words) == 3 else 1.0)
        self.lines.append(line)

    def diagonal(self) -> list[bool]:
        """Return which entries are of one spin."""
        return [i == j for i, j in self.ends]

    def check_ends(self, n: int) -> None:
        """Refuse spins that are not there; a graph with a spin 0, and none n, counts from 0."""
        if not self.ends:
            return
        lowest, highest = min(min(ends) for ends in self.ends), max(max(ends) for ends in self.ends)
        if self.base == 1 and lowest == -1 and highest < n - 1:
            self.ends, self.base = [(i + 1, j + 1) for i, j in self.ends], 0
            return
        for at, (i, j) in enumerate(self.ends):
            if min(i, j) < 0 or max(i, j) >= n:
                self.lines[at].refuse(
                    f"edge {at + 1} joins {i + self.base} and {j + self.base}",
                    hint=f"ends are numbers from {self.base} to {n - 1 + self.base}",
                )

    def matrix(self, n: int) -> CsrArray:
        """Return the entries on and above the diagonal."""
        if any(min(ends) < 0 for ends in self.ends):
            at = next(at for at, ends in enumerate(self.ends) if min(ends) < 0)
            self.lines[at].refuse(f"{self.lines[at].said} has a negative number of a spin")
        rows, columns = np.array(self.ends, dtype=np.int64).reshape(-1, 2).T
        return scipy.sparse.csr_array((self.weights, (rows, columns)), shape=(n, n))


def _check_reading(line: _Line, asked: str | None, told: str, why: str) -> None:
    if asked not in (None, told):
        line.refuse(f"the file is of the format {told}: it {why}", hint=f"{asked} was asked for")


def _check_size(line: _Line, n: int, m: int = 0) -> None:
    if n > MAX_FILE_SPINS:
        line.refuse(counted(n, "spin"), hint=f"at most {MAX_FILE_SPINS} are read")
    if n < 1 or not 0 <= m <= n * (n + 1) // 2:
        line.refuse(f"{counted(n, 'spin')} and {counted(m, 'edge')} do not make a graph")
