"""Folders that cannot be written to: found before training begins, and told in one line where it happens later."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mtlbench.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def disk_problem(error: OSError) -> str | None:
    """One line on an error of the disk; None where it is another error."""
    if error.errno not in (*FULL, *REFUSED, errno.EIO):
        return None
    place = f"{error.filename} cannot be used" if error.filename else "a file cannot be written"
    advice = "free some space" if error.errno in FULL else "make it writable, or name another folder"
    return f"{place} ({os.strerror(error.errno)}): {advice}, and run the same command again."


def require_writable(folders: Mapping[str, Path]) -> None:
    """Write a file into every folder, made where it is missing, and remove it.

    Args:
        folders: option that names the folder → the folder.

    Raises:
        UserError: one of them cannot be written to.
    """
    for option, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".mtlbench-") as file:
                file.write(b"writable")
                file.flush()
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be written to ({error.strerror}): make it writable, or name another one with "
                f"{option}. Nothing was trained."
            ) from None
