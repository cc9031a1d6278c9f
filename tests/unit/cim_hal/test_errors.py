"""The tree of errors."""

from __future__ import annotations

from cim_hal.errors import CimError


def _all(cls: type[CimError]) -> set[type[CimError]]:
    return {cls}.union(*(_all(sub) for sub in cls.__subclasses__() if "errors" in sub.__module__))


def test_codes_are_unique():
    classes = _all(CimError)
    assert len({cls.code for cls in classes}) == len(classes)
