"""Text of others, where it is shown: nothing in it moves a cursor, hides, or forges a line."""

from __future__ import annotations

__all__ = ["ONE_LINE", "printable"]

# What a one-line text on the wire may consist of: no controls (Cc), no formats such as bidi marks
# and zero-width spaces (Cf), no separators of lines and paragraphs (Zl, Zp).
ONE_LINE = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$"

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


def _is_seen(char: str) -> bool:
    return char.isprintable() and char not in _BLANK


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
