"""Archives: what lies in them comes into their folder, and one that points anywhere else is refused as a whole."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlbench.contract.dataset import Download
from mtlbench.data.archives import unpack
from mtlbench.data.download import fetch
from mtlbench.errors import UserError

CONTENT = b"labels\n" * 100


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path: Path, *members: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_are_unpacked(mode: str, tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", (entry("train", tarfile.DIRTYPE), b""), (entry("./train/one.txt"), CONTENT), mode=mode)
    unpack(archive, tmp_path / "a")
    assert everything(tmp_path / "a") == ["train", "train/one.txt"]
    assert (tmp_path / "a" / "train" / "one.txt").read_bytes() == CONTENT


def test_zip_files_are_unpacked(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", (zipfile.ZipInfo("train/"), b""), (zipfile.ZipInfo("train/deep/one.txt"), CONTENT))
    unpack(archive, tmp_path / "a")
    assert (tmp_path / "a" / "train" / "deep" / "one.txt").read_bytes() == CONTENT


ELSEWHERE = ["../evil", "good/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:/evil", "\\evil"]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("make", ["tar", "zip"])
def test_a_member_that_points_elsewhere_spoils_the_archive(make: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if make == "tar":
        archive = tar(folder / "a.tar.gz", (entry("good"), CONTENT), (entry(name), CONTENT))
    else:
        archive = zipped(folder / "a.zip", (zipfile.ZipInfo("good"), CONTENT), (zipfile.ZipInfo(name), CONTENT))
    with pytest.raises(UserError, match="points out of the folder"):
        unpack(archive, folder / "a")
    assert everything(tmp_path) == ["data", f"data/{archive.name}"], "nothing was written, not even what is good"


def tar_link(kind: bytes, target: str) -> Callable[[Path], Path]:
    """A link out of the folder, and a file that would be written through it."""
    return lambda folder: tar(folder / "a.tar", (entry("link", kind, target), b""), (entry("link/evil"), CONTENT), mode="w")


def zip_link(folder: Path) -> Path:
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped(folder / "a.zip", (link, b"../.."), (zipfile.ZipInfo("link/evil"), CONTENT))


@pytest.mark.parametrize(
    "make",
    [
        tar_link(tarfile.SYMTYPE, "../.."),
        tar_link(tarfile.SYMTYPE, "/etc"),
        tar_link(tarfile.LNKTYPE, "../outside"),
        tar_link(tarfile.CHRTYPE, ""),
        tar_link(tarfile.FIFOTYPE, ""),
        zip_link,
    ],
    ids=["symbolic", "absolute", "hard", "device", "pipe", "zip"],
)
def test_links_and_devices_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "outside").write_text("mine")
    archive = make(folder)
    with pytest.raises(UserError, match=r"is a (link|device), no file"):
        unpack(archive, folder / "a")
    assert everything(tmp_path) == ["data", f"data/{archive.name}", "outside"]
    assert (tmp_path / "outside").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 half of one"])
def test_what_is_no_archive_is_said_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip cannot be unpacked") as refused:
        unpack(tmp_path / "a.zip", tmp_path / "a")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
def test_a_truncated_archive_leaves_nothing(mode: str, tmp_path: Path) -> None:
    content = hashlib.sha256(b"0").digest() * 1000 + bytes(range(256)) * 100
    whole = tar(tmp_path / "whole", (entry("first"), content), (entry("second"), content), mode=mode).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole").unlink()
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "a")
    assert everything(tmp_path) == ["a.tar"]


def test_a_damaged_member_of_a_zip_file_is_noticed(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("one", CONTENT)
    archive.write_bytes(archive.read_bytes().replace(b"labels", b"labelz", 1))
    with pytest.raises(UserError, match="Bad CRC"):
        unpack(archive, tmp_path / "a")
    assert everything(tmp_path) == ["a.zip"]


def test_a_downloaded_archive_is_verified_and_then_unpacked_into_a_folder_of_its_name(tmp_path: Path) -> None:
    source = tar(tmp_path / "source.tgz", (entry("images/one.png"), CONTENT))
    checksum = hashlib.md5(source.read_bytes()).hexdigest()
    download = Download((source.as_uri(),), "raw/train.tar.gz", checksum)
    folder = fetch(download, tmp_path / "data")
    assert folder == tmp_path / "data" / "raw" / "train"
    assert (folder / "images" / "one.png").read_bytes() == CONTENT
    assert fetch(download, tmp_path / "data") == folder
    with pytest.raises(UserError, match="checksum"):
        fetch(Download((source.as_uri(),), "raw/other.tar.gz", "0" * 32), tmp_path / "data")
    assert not (tmp_path / "data" / "raw" / "other").exists() and not list(tmp_path.rglob("*.part"))
