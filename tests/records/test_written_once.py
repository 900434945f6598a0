"""Records are written once: whole, on the disk, and never over another result unless that is asked for."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlbench.errors import UserError
from mtlbench.records import Record, add, as_text, atomic, read, write, write_text
from tests.leaderboard import fabricate


def repeated(quality: float, seconds: float = 1.0) -> Record:
    """A record of always the same trial; the quality decides its result."""
    record = fabricate.record(quality=quality)
    record.id = "0123456789ab"
    record.measured.training_seconds = seconds
    return record


def test_another_result_of_the_same_trial_is_refused_without_force(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.json"
    add(path, as_text(repeated(0.1)))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"another result of trial 0123456789ab .*--force") as refused:
        add(path, as_text(repeated(0.2)))
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    add(path, as_text(repeated(0.2)), force=True)
    assert read(path).result == repeated(0.2).result
    assert [file.name for file in path.parent.iterdir()] == ["a.json"], "no temporary file is left"


def test_the_same_result_is_accepted_and_the_record_keeps_what_was_measured_later(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = repeated(0.1)
    record.measured = record.measured.model_copy(update={"training_seconds": 5.0})
    write(path, record)
    before = path.read_bytes()
    add(path, as_text(repeated(0.1, seconds=7.0)))
    assert path.read_bytes() == before


def test_the_record_of_another_trial_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    other = repeated(0.1)
    other.id = "another_one0"
    write(path, other)
    with pytest.raises(UserError, match="trial another_one0"):
        add(path, as_text(repeated(0.1)))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"id": "0123456789ab", "resu', b"[1, 2]", b"null", b"\xff\xfe", b"[" * 99_999]
)
def test_what_is_no_record_is_replaced(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    add(path, as_text(repeated(0.1)))
    assert read(path) == repeated(0.1)


def test_of_two_that_write_at_the_same_time_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look whether a record is there before either has written it."""
    path, together, refused = tmp_path / "a.json", threading.Barrier(2), []
    flushed: Callable[[Path, str], Path] = atomic._flushed

    def flush_together(place: Path, text: str) -> Path:
        together.wait(timeout=60)
        return flushed(place, text)

    monkeypatch.setattr(atomic, "_flushed", flush_together)

    def write_one(quality: float) -> None:
        try:
            add(path, as_text(repeated(quality)))
        except UserError:
            refused.append(quality)

    threads = [threading.Thread(target=write_one, args=(quality,)) for quality in (0.1, 0.2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    (kept,) = {0.1, 0.2} - set(refused)
    assert read(path).result == repeated(kept).result


def test_without_hard_links_records_are_written_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.json"
    add(path, as_text(repeated(0.1)))
    with pytest.raises(UserError, match="another result"):
        add(path, as_text(repeated(0.2)))
    assert read(path).result == repeated(0.1).result and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("writer", [write_text, add])
def test_the_file_is_on_the_disk_before_its_name_and_then_the_folder(
    writer: Callable[[Path, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace, link = os.fsync, os.replace, os.link

    def watched_fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def watched_replace(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    def watched_link(source: Path, target: Path) -> None:
        done.append("name")
        link(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    monkeypatch.setattr(os, "link", watched_link)
    writer(tmp_path / "a.json", as_text(repeated(0.1)))
    assert done == ["file", "name", "folder"]
    done.clear()
    writer(tmp_path / "new" / "folder" / "a.json", as_text(repeated(0.1)))
    assert done == ["folder", "folder", "file", "name", "folder"], "new folders have names on the disk, too"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_writing_that_fails_leaves_the_old_file_and_nothing_else(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write(path, repeated(0.1))
    before = path.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        write(path, repeated(0.2))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["a.json"]
