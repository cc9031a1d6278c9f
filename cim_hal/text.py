"""Words that are shown: text of others, which must not forge a line; numbers; notebooks' tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["counted", "html_table", "printable"]

# Letters and marks without a shape: `str.isprintable` knows controls, formats and spaces alone.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


def printable(text: str) -> str:
    r"""Return a text with everything escaped that is no visible character and no space.

    >>> printable("done\x1b[2J\r\nforged")
    'done\\x1b[2J\\r\\nforged'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_seen(char) else _escaped(char) for char in text)


def counted(number: float | str, noun: str, form: str = "") -> str:
    """Return a number, formatted as `form` says, and its noun, which is singular of 1 alone.

    >>> counted(1, "run"), counted(0, "entry"), counted(25000, "spin", ",")
    ('1 run', '0 entries', '25,000 spins')
    """
    shown = format(number, form)
    if shown == "1":
        return f"1 {noun}"
    if noun.endswith(("gy", "ry")):
        return f"{shown} {noun[:-1]}ies"
    return f"{shown} {noun}{'es' if noun.endswith('ss') else 's'}"


def html_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of HTML, as notebooks show an object; everything in it is shown as text."""
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _is_seen(char: str) -> bool:
    return char.isprintable() and char not in _BLANK


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
