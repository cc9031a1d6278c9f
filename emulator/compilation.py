"""A word while kernels are compiled, which takes seconds, once per computer."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from numba.core import event

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["compilation_announced"]

log = logging.getLogger(__name__)


class _CompilationNotice(event.Listener):
    """Hears of kernels that are compiled, and not of those that come from the cache."""

    def on_start(self, event: event.Event) -> None:  # noqa: ARG002
        _announce()

    def on_end(self, event: event.Event) -> None:
        pass


_NOTICE = _CompilationNotice()


def compilation_announced() -> AbstractContextManager[None]:
    """Return a context in which the first kernel to be compiled is logged, once per process."""
    return event.install_listener("numba:compile", _NOTICE)


@cache
def _announce() -> None:
    log.warning("compiling kernels, once per computer: the first run takes some seconds longer")
