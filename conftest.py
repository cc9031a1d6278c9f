"""Run every code block of README and docs, and every example in a docstring; how many workers."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, chdir
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection

# Locks of machines for all users: each process that runs tests is alone with its machines.
LOCKS = tempfile.TemporaryDirectory(prefix="cim-hal-locks-")
os.environ["CIM_HAL_LOCKS"] = LOCKS.name


def _enter_scratch(namespace: dict[str, Any]) -> None:
    """Let a page write its files into a folder that goes away."""
    stack = namespace["_stack"] = ExitStack()
    stack.enter_context(chdir(stack.enter_context(tempfile.TemporaryDirectory())))


def _leave_scratch(namespace: dict[str, Any]) -> None:
    namespace.pop("_stack").close()


pytest_collect_file = SybilCollection(
    [
        Sybil(
            parsers=[PythonCodeBlockParser(), SkipParser()],
            patterns=["README.md", "docs/**/*.md"],
            setup=_enter_scratch,
            teardown=_leave_scratch,
        ),
        Sybil(
            parsers=[DocTestParser()],
            patterns=["cim_hal/**/*.py", "emulator/**/*.py", "qnn_train/**/*.py"],
        ),
    ]
).pytest()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of ``-n auto``: a third of the time tests wait for processes or clocks."""
    processors = os.cpu_count() or 1
    return processors + max(processors // 2, 1)
