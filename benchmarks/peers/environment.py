"""The peers' virtual environment: made once, from pinned versions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from pathlib import Path

__all__ = ["default_folder", "prepare"]

HERE = Path(__file__).parent
# Requirements, and whether they bring their dependencies.
REQUIREMENTS = (("requirements.txt", True), ("requirements-alone.txt", False))
CONSTRAINTS = HERE / "constraints.txt"


def default_folder() -> Path:
    """Return a folder of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cim-hal-peers"


def prepare(folder: Path) -> Path:
    """Return the environment's interpreter, after making the environment where it is missing.

    It is made anew when a pin has changed. PyPI's torch for Linux brings CUDA libraries: 6 GB.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "pins.sha256"
    if stamp.exists() and stamp.read_text() == _pins():
        return python
    print(f"making an environment for the peers in {folder}: some minutes", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    for name, with_dependencies in REQUIREMENTS:
        alone = [] if with_dependencies else ["--no-deps"]
        command = [python, "-m", "pip", "install", "--quiet", *alone, "-r", HERE / name]
        subprocess.run([*command, "-c", CONSTRAINTS], check=True)
    stamp.write_text(_pins())
    return python


def _pins() -> str:
    names = [name for name, _ in REQUIREMENTS]
    paths = [*(HERE / name for name in names), CONSTRAINTS]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
