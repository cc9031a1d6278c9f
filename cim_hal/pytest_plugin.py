"""Machines for test suites: pytest finds these fixtures where cim-hal is installed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.client.session import Session

__all__ = ["coarse_machine", "faulty_machine", "noisy_machine", "open_machine"]


@pytest.fixture
def open_machine() -> Iterator[Callable[..., Session]]:
    """Return a function that opens a machine until the end of the test.

    ``open_machine(target="emulator", *, faults=None, **settings)``: `settings` are defaults of its
    settings, with ``__`` for a dot; `faults` is the path of a fault script.
    """
    with ExitStack() as stack:

        def opened(target: str = "emulator", *, faults: Any = None, **settings: float) -> Session:
            return stack.enter_context(_session(target, faults, settings))

        yield opened


@pytest.fixture
def noisy_machine(open_machine: Callable[..., Session]) -> Session:
    """Return an emulated machine whose electronics are as noisy as its light."""
    return open_machine(electronic_noise=3.0)


@pytest.fixture
def coarse_machine(open_machine: Callable[..., Session]) -> Session:
    """Return an emulated machine with an ADC of 3 bits whose range follows."""
    return open_machine(adc__bits=3, adc__reranged=1)


@pytest.fixture
def faulty_machine(open_machine: Callable[..., Session], tmp_path: Any) -> Session:
    """Return an emulated machine that loses its lock in every third job."""
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nkind = "lost_lock"\nevery = 3\n', encoding="utf-8")
    return open_machine(faults=script)


def _session(target: str, faults: Any, settings: dict[str, float]) -> Session:
    from cim_hal import FaultScript, FaultyDriver, make_driver, open_device
    from cim_hal.machine.config import MachineConfig

    values = {name.replace("__", "."): float(value) for name, value in settings.items()}
    if faults is None:
        config = MachineConfig.of(target)
        return open_device(config.model_copy(update={"settings": config.settings | values}))
    if values:
        raise ValueError("settings of a machine with faults are those of its jobs")
    return open_device(FaultyDriver(make_driver(target), FaultScript.read(faults)))
