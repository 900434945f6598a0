"""Direct downloads of raw files, for data whose licence allows them.

Written here because no library does all of it: pooch (1.9) and torchvision's utilities know one address per file and begin
an interrupted download anew. Here a download continues where it stopped (HTTP ranges), several addresses are tried in
order, the checksum is verified before a file gets its name, archives are unpacked, progress goes to the harness's own
callback, and no path may lead out of the folder that the user named.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mtlbench.contract.dataset import Download
from mtlbench.data import archives
from mtlbench.data.fingerprint import Progress
from mtlbench.errors import UserError

_BLOCK = 1 << 18
_TIMEOUT = 60.0


def fetch(download: Download, folder: Path, progress: Progress | None = None) -> Path:
    """One file, downloaded, verified, and unpacked where it is an archive or its name ends in `.gz`; returns where it is.

    An archive's content comes into a folder of its name, without the ending.

    What an interrupted download left (`NAME.part`) is continued where the server allows it. The file gets its name only when
    its checksum is right, so a file that has its name is complete.

    Raises:
        UserError: no address answers, the checksum is wrong, the folder cannot be written to, or an archive is damaged or
            points out of its folder.
        ValueError: the download's path is not below the folder (a mistake in the plugin).
    """
    packed = _below(folder, download.path)
    target = _unpacked(packed)
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not packed.exists():
            _download(download, packed, progress)
        if archives.is_archive(packed.name):
            archives.unpack(packed, target)
        elif target != packed:
            _unpack(packed, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}.") from None
    return target


def fetch_all(downloads: Sequence[Download], folder: Path, progress: Progress | None = None) -> list[Path]:
    """All files, one after another."""
    return [fetch(download, folder, progress) for download in downloads]


def _below(folder: Path, relative: str) -> Path:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"a download's path must lie below the folder of the data, not {relative!r}")
    return folder / path


def _unpacked(packed: Path) -> Path:
    if archives.is_archive(packed.name):
        return packed.with_name(archives.stem(packed.name))
    return packed.with_suffix("") if packed.suffix == ".gz" else packed


def _download(download: Download, packed: Path, progress: Progress | None) -> None:
    partial = packed.with_name(packed.name + ".part")
    failures: list[str] = []
    for address in download.addresses:
        try:
            _continue(address, partial, progress)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            failures.append(f"{address}: {getattr(error, 'reason', error)}")
            continue
        checksum = _md5(partial)
        if checksum == download.md5:
            partial.replace(packed)
            return
        partial.unlink()
        failures.append(f"{address}: checksum {checksum}, expected {download.md5}")
    tried = "; ".join(failures)
    raise UserError(f"{packed.name} could not be downloaded ({tried}). Try again, or put it into {packed.parent} yourself.")


def _continue(address: str, partial: Path, progress: Progress | None) -> None:
    """Append to a partial file what it lacks; begin anew where the server sends the whole file."""
    begun = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={begun}-"} if begun else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send
            return
        raise
    with answer:
        continued = answer.status == 206
        done = begun if continued else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        with partial.open("ab" if continued else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                done += len(block)
                if progress:
                    progress(partial.name.removesuffix(".part"), done, max(total, done))
    if done < total:  # kept: the next attempt goes on from here
        raise ConnectionError(f"ended after {done:,} of {total:,} bytes")


def _unpack(packed: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".part")
    with gzip.open(packed, "rb") as source, partial.open("wb") as file:
        shutil.copyfileobj(source, file)
    partial.replace(target)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
