"""Child processes that tests may interrupt."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["start"]


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a child that SIGINT interrupts; call it from the main thread.

    A child inherits SIGINT as ignored where the tests themselves run so: under ``nohup``, and as
    a background job of a shell. Python then installs no handler. ``preexec_fn`` would do as well,
    but may deadlock where the parent has threads.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        return subprocess.Popen(command, **options)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)
