"""Downloads that can be taken up again and are checked: only for data whose licence allows a direct download."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from mtlbench.contract.dataset import Download
from mtlbench.data.fingerprint import Progress
from mtlbench.errors import UserError

_BLOCK = 1 << 18
_TIMEOUT = 60.0


def fetch(download: Download, folder: Path, progress: Progress | None = None) -> Path:
    """One file, downloaded, checked, and unpacked where its name ends in `.gz`; returns where it is.

    What an interrupted download left (`NAME.part`) is continued where the server allows it. The file gets its name only when
    its checksum is right, so whoever finds it finds all of it.

    Raises:
        UserError: no address answers, the checksum is wrong, or the folder cannot be written to.
    """
    packed = folder / download.path
    target = packed.with_suffix("") if packed.suffix == ".gz" else packed
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not packed.exists():
            _download(download, packed, progress)
        if target != packed:
            _unpack(packed, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}.") from None
    return target


def _download(download: Download, packed: Path, progress: Progress | None) -> None:
    partial = packed.with_name(packed.name + ".part")
    reasons: list[str] = []
    for address in download.addresses:
        try:
            _continue(address, partial, progress)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reasons.append(f"{address}: {getattr(error, 'reason', error)}")
            continue
        found = _md5(partial)
        if found == download.md5:
            partial.replace(packed)
            return
        partial.unlink()
        reasons.append(f"{address}: checksum {found}, expected {download.md5}")
    tried = "; ".join(reasons)
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


def fetch_all(downloads: Sequence[Download], folder: Path, progress: Progress | None = None) -> list[Path]:
    """All files, one after another."""
    return [fetch(one, folder, progress) for one in downloads]
