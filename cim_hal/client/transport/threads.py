"""A thread for one thing, also at the end of the interpreter, when executors take nothing more."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]


async def in_thread(work: Callable[[], None]) -> None:
    """Do `work`, which blocks, in a thread of its own, and wait for its end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def do() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # nobody waited for it, and the loop has ended
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=do, name="cim-hal closing", daemon=True).start()
    await done.wait()
