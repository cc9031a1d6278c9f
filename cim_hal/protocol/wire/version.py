"""Versions of the wire protocol, apart from the version of the package."""

from __future__ import annotations

from typing import TypeAlias

from cim_hal.errors import VersionError

__all__ = ["MAJOR", "NEWEST", "OLDEST", "Version", "agree"]

Version: TypeAlias = tuple[int, int]

OLDEST: Version = (1, 0)
NEWEST: Version = (1, 2)
MAJOR = NEWEST[0]


def agree(
    theirs: tuple[Version, Version], ours: tuple[Version, Version] = (OLDEST, NEWEST)
) -> Version:
    """Return the newest version in both ranges, each given as (oldest, newest).

    Raises
    ------
    VersionError
        The ranges have nothing in common.

    Examples
    --------
    >>> agree(((1, 0), (1, 7)), ours=((1, 2), (1, 4)))
    (1, 4)
    """
    version = min(theirs[1], ours[1])
    if version < max(theirs[0], ours[0]):
        raise VersionError(
            f"the client speaks protocol {_span(theirs)}, the server {_span(ours)}",
            hint="install a version of cim-hal on either side that has one in common",
            client=_span(theirs),
            server=_span(ours),
        )
    return version


def _span(versions: tuple[Version, Version]) -> str:
    return " to ".join(f"{major}.{minor}" for major, minor in dict.fromkeys(versions))
