"""A session with an emulated machine."""

from __future__ import annotations

import pytest

from cim_hal import open_device


@pytest.fixture(scope="module")
def session():
    with open_device("emulator-dsb") as opened:
        yield opened
