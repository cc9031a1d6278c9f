"""Run every code block of README and docs, and every example in a docstring; how many workers."""

from __future__ import annotations

import gc
import os
import tempfile
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

# Locks of machines for all users: each process that runs tests is alone with its machines.
LOCKS = tempfile.TemporaryDirectory(prefix="cim-hal-locks-")
os.environ["CIM_HAL_LOCKS"] = LOCKS.name
# Keys and defaults of whoever runs the tests are none of theirs.
CONFIG = tempfile.TemporaryDirectory(prefix="cim-hal-config-")
os.environ["XDG_CONFIG_HOME"] = CONFIG.name

# Pages whose examples train networks or run studies, up to 25 s each: slow tests.
LONG_PAGES = {"estimator.md", "own-data.md", "run-a-study.md", "train-images.md"}


def _enter_scratch(namespace: dict[str, Any]) -> None:
    """Let a page write its files into a folder that goes away."""
    stack = namespace["_stack"] = ExitStack()
    stack.enter_context(chdir(stack.enter_context(tempfile.TemporaryDirectory())))


def _leave_scratch(namespace: dict[str, Any]) -> None:
    namespace.pop("_stack").close()


_examples = SybilCollection(
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


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    """Collect the examples of a file; modules without any are not parsed, which takes seconds."""
    if file_path.suffix == ".py" and b">>>" not in file_path.read_bytes():
        return None
    return _examples(file_path, parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples of long pages as slow."""
    for item in items:
        if item.path.name in LONG_PAGES:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Collect without the garbage collector, which is not to look at what stays ever again.

    Of several workers each has one thread for linear algebra: more would only wait for a processor.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        if "PYTEST_XDIST_WORKER" in os.environ:
            threadpool_limits(1, user_api="blas")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of ``-n auto``: a third of the time tests wait for processes or clocks."""
    processors = os.cpu_count() or 1
    return processors + max(processors // 2, 1)
