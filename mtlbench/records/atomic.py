"""Files that are written whole or not at all, also where the machine stops in the middle.

A file is written beside its place, flushed to the disk and renamed; then its folder is flushed, which holds the name.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file, or replace it: a reader sees the old text or the new one. Its folder is made if missing."""
    temporary = _flushed(path, text)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_new_text(path: Path, text: str) -> bool:
    """Write a text file unless one is there; of several processes that try at the same time, one succeeds.

    Returns:
        Whether it was written.
    """
    if path.exists():
        return False
    temporary = _flushed(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS or path.exists():
            raise
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)
    return True


_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)
"""What file systems without hard links answer."""

_NO_FLUSHING = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer whose folders need no flushing, or cannot be flushed."""


def _flushed(path: Path, text: str) -> Path:
    """The text in a temporary file beside its place, on the disk."""
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSHING:
            raise
    finally:
        os.close(handle)
