"""A driver around another passes on whatever a driver can be asked."""

from __future__ import annotations

import inspect

import pytest

from cim_hal import Driver
from cim_hal.machine.wrapped_driver import WrappedDriver

METHODS = {
    name: list(inspect.signature(method).parameters)[1:]
    for name, method in inspect.getmembers(Driver, inspect.isfunction)
    if not name.startswith("_")
}


def _recorder(calls: list) -> Driver:
    """Return a driver that writes down each call, and returns its name."""

    def recording(name):
        return lambda _self, *arguments: calls.append((name, arguments)) or name

    return type("Recorder", (Driver,), {name: recording(name) for name in METHODS})()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_a_driver_is_passed_on(name):
    calls: list = []
    arguments = tuple(object() for _ in METHODS[name])
    returned = getattr(WrappedDriver(_recorder(calls)), name)(*arguments)
    assert calls == [(name, arguments)]
    assert returned == (None if name in {"program", "safe", "close"} else name)
