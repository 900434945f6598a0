"""Unpacks downloaded archives: tar (plain, gzip, bzip2, xz) and zip. No member can name a place outside its folder.

An archive is refused as a whole when one of its members has an absolute path, a path with `..`, or is neither a file nor a
folder (links, devices): the names are checked before anything is written. (`tarfile` has filters for this, from Python
3.11.4 on; they know nothing of zip files, and leave out or rewrite what is refused here.)
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mtlbench.errors import UserError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""Names that end so are archives."""


_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What the readers of the standard library raise at files that are damaged, encrypted, or of an unknown kind."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        name: as the archive has it.
        kind: "file", "folder", or what else it is.
        open: its content, where it is a file.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes] | None]


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.lower().endswith(ENDINGS)


def stem(name: str) -> str:
    """The name without an archive's ending."""
    ending = max((ending for ending in ENDINGS if name.lower().endswith(ending)), key=len)
    return name[: -len(ending)]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder, which gets its name when all of it is there.

    Raises:
        UserError: the file is no archive, is damaged, or has a member that points elsewhere.
        OSError: the folder cannot be written.
        FileExistsError: the folder is there.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _members(archive) as members:
            places = [(member, partial / _relative(member, archive)) for member in members]
            partial.mkdir(parents=True)
            for member, place in places:
                _write(member, place)
        partial.replace(folder)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; decompressors give no number
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".: ")
        raise UserError(f"{archive} cannot be unpacked ({reason}). Remove it and try again.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _relative(member: Member, archive: Path) -> PurePosixPath:
    """Where a member belongs, below the folder.

    Raises:
        UserError: it points elsewhere, or is no file and no folder.
    """
    # Archives made on Windows have backslashes; there they part folders, and "C:" is absolute.
    path = PurePosixPath(member.name.replace("\\", "/"))
    drive = path.parts[0][1:2] == ":" if path.parts else False
    if path.is_absolute() or ".." in path.parts or drive or "\0" in member.name:
        raise UserError(f"{archive} is refused: its member {member.name!r} points out of the folder. Do not use it.")
    if member.kind not in ("file", "folder"):
        raise UserError(f"{archive} is refused: its member {member.name!r} is a {member.kind}, no file. Unpack it by hand.")
    return path


def _write(member: Member, place: Path) -> None:
    if member.kind == "folder":
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None  # files have content
    with source, place.open("wb") as file:
        shutil.copyfileobj(source, file)


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield [_of_zip(opened, info) for info in opened.infolist()]
    else:
        with tarfile.open(archive) as opened_tar:
            yield [_of_tar(opened_tar, info) for info in opened_tar.getmembers()]


def _of_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # Unix attributes stand in the upper half; 0 where the archive was made elsewhere.
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
    return Member(info.orig_filename, kind, lambda: archive.open(info))


def _of_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = "folder" if info.isdir() else "file" if info.isreg() else "link" if info.issym() or info.islnk() else "device"
    return Member(info.name, kind, lambda: archive.extractfile(info))
