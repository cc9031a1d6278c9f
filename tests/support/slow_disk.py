"""A library that makes each fsync of a process slow: what `slow_disk.c` says, compiled."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["compiled"]

SOURCE = Path(__file__).with_suffix(".c")


def compiled(folder: Path) -> Path:
    """Return the library for ``LD_PRELOAD``, compiled into a folder unless it is there."""
    library = folder.absolute() / "slow_disk.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library
