"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["TEMPORARY", "replace_text", "replacing", "temporary"]

TEMPORARY = ".part"  # how the names of files end that are not complete


def temporary(path: Path) -> Path:
    """Return a new name beside `path` for a file that is not complete."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, mode: int = 0o666, durable: bool = False
) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when the block ends, and not if it raises.

    Whoever reads `path` sees the old file or the new one, and an error or an interruption leaves
    the old one. Until then it is ``.NAME.HEX.part`` beside `path`: two writers do not mix. A link
    stays one: the file that it names is replaced.

    Parameters
    ----------
    path : str or path
        Its folder must exist.
    mode : int
        Permissions of a new file, less the umask; a file that is replaced hands on its own.
    durable : bool
        The file and its entry in the folder are on the disk when the block has ended.

    Raises
    ------
    OSError
        It cannot be written; or `path` is a folder or a device, which are never replaced.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    beside = temporary(target)
    try:
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o7777)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(target)
        if durable:
            _sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):  # the file stays, and its name says what it is
            beside.unlink(missing_ok=True)
        raise


def replace_text(
    path: str | os.PathLike[str], text: str, *, mode: int = 0o666, durable: bool = False
) -> None:
    """Write a text in UTF-8 as `replacing` does; it must end as the file is to end."""
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
