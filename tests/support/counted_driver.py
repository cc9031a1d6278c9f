"""A target whose drivers are counted: commands that refuse it must not have made one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from cim_machines import Annealer

if TYPE_CHECKING:
    import pytest

__all__ = ["count_drivers"]


def count_drivers(monkeypatch: pytest.MonkeyPatch) -> list[Annealer]:
    """Let ``counted:make`` be a target; return the drivers that it has made."""
    drivers: list[Annealer] = []

    def make() -> Annealer:
        drivers.append(Annealer())
        return drivers[-1]

    module = ModuleType("counted")
    vars(module)["make"] = make
    monkeypatch.setitem(sys.modules, "counted", module)
    return drivers
