"""Users and their roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["ANONYMOUS", "LOCAL", "Role", "User"]


class Role(IntEnum):
    """Roles, in ascending order: each may do all that the ones before may."""

    OBSERVER = 1
    USER = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """The word for it in files, logs and sentences."""
        return self.name.lower()


@dataclass(frozen=True)
class User:
    """Who sent a message, as the transport knows it; nothing of it stands in the message."""

    name: str
    role: Role


# The caller is this very process: it could do to the driver what it likes.
LOCAL = User("local", Role.ADMIN)
# Whoever reached a server without keys. Nobody can be told apart there, and the emergency stop must
# be within everybody's reach.
ANONYMOUS = User("anonymous", Role.OPERATOR)
