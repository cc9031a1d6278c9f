"""Numbers, times and names as short labels for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["amount", "duration", "plain", "size", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Return a time span in four to seven characters.

    Examples
    --------
    >>> [duration(s) for s in (0.0123, 0.74, 5.3, 83.0, 11_525.0, 273_600.0)]
    ['12 ms', '0.7 s', '5.3 s', '1:23', '3:12:05', '3 d 4 h']
    """
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    if seconds < 60.0:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{rest:02d}"
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{hours // 24} d {hours % 24} h"


def amount(number: float) -> str:
    """Return a number in about three digits.

    Examples
    --------
    >>> [amount(x) for x in (0, 7, 1999.0, 12_345_678, 0.1234)]
    ['0', '7', '2k', '12.3M', '0.123']
    """
    for power, suffix in ((9, "G"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power:
            return f"{number / 10**power:.3g}{suffix}"
    return f"{number:.3g}"


def size(n_spins: int, n_runs: int, round_trips: int) -> str:
    """Return the size of a job: spins, runs, round trips.

    Examples
    --------
    >>> size(800, 64, 2000)
    '800×64×2k'
    """
    return f"{n_spins}×{amount(n_runs)}×{amount(round_trips)}"


def sparkline(values: Sequence[float], width: int, *, top: float | None = None) -> str:
    """Return the last `width` values as blocks, from the lowest to the highest.

    Parameters
    ----------
    top : float, optional
        Value of a full block, with 0 as the empty one; by default the range of the values.

    Examples
    --------
    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)
    '▁▂▃▄▅▆▇█'
    >>> sparkline([5, 5, 5], 3)
    '▄▄▄'
    """
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = (min(shown), max(shown)) if top is None else (0.0, top)
    if high <= low:
        return ("▄" if top is None else "▁") * len(shown)
    steps = (int((value - low) / (high - low) * len(BLOCKS)) for value in shown)
    return "".join(BLOCKS[min(max(step, 0), len(BLOCKS) - 1)] for step in steps)


def plain(text: str) -> str:
    """Return untrusted text without characters that move the cursor or hide other text."""
    return "".join(char if char.isprintable() else "�" for char in text)
