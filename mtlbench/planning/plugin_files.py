"""Plugins from extra folders travel with a trial as text: collected when it is planned, written where they are absent."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mtlbench.config.plugins import AnyPlugin
from mtlbench.errors import UserError
from mtlbench.records import canonical, write_text


def collect(plugins: Iterable[AnyPlugin]) -> dict[str, str]:
    """Path → text of every Python file of the plugins that come from extra folders."""
    return {str(path): path.read_text(encoding="utf-8") for plugin in plugins if plugin.is_outside for path in plugin.files}


def folders(files: Mapping[str, str]) -> list[Path]:
    """Folders in which a registry finds the plugins that `collect` gave.

    A plugin whose files are on this machine with the same content is used where it is. Any other is written, with its
    files' relative places, into a temporary folder of this user alone.

    Raises:
        UserError: that folder belongs to somebody else.
    """
    result: dict[Path, None] = {}
    for root, texts in _by_plugin(files).items():
        if all(_holds(path, text) for path, text in texts.items()):
            result[root.parent] = None
        else:
            result[_write(root, texts)] = None
    return list(result)


def _by_plugin(files: Mapping[str, str]) -> dict[Path, dict[Path, str]]:
    """The files of each plugin by its root: the file itself, or the outermost folder that is a package."""
    result: dict[Path, dict[Path, str]] = {}
    for name, text in files.items():
        path = Path(name)
        packages = [folder for folder in path.parents if str(folder / "__init__.py") in files]
        root = packages[-1] if packages else path
        result.setdefault(root, {})[path] = text
    return result


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _write(root: Path, texts: Mapping[Path, str]) -> Path:
    named = {path.relative_to(root.parent).as_posix(): text for path, text in texts.items()}
    # The folder is named by what is in it, so workers that write it at the same time write the same.
    folder = _private_folder() / hashlib.sha256(canonical(named).encode()).hexdigest()[:12]
    for name, text in named.items():
        if not _holds(folder / name, text):
            write_text(folder / name, text)
    return folder


def _private_folder() -> Path:
    """A temporary folder that nobody else can read or write: what lies in it is imported."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"mtlbench-plugins-{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user:
        raise UserError(f"{folder} does not belong to this user: remove it, or name another temporary folder in TMPDIR.")
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder
