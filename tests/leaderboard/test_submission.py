"""Records packed for a pull request."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.cli.main import main
from mtlbench.errors import UserError
from mtlbench.leaderboard.loading import read_checked
from mtlbench.leaderboard.record_files import record_files
from mtlbench.leaderboard.submission import pack
from mtlbench.records import read
from tests.leaderboard.fabricate import record, save, save_changed, sweep

SOURCES = dict.fromkeys(("single_task", "hard_sharing", "mtan"), "0" * 16)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return save(sweep(["single_task", "hard_sharing", "mtan"]), tmp_path / "results")


def files_of(results: Path, method: str) -> list[Path]:
    return [path for path in record_files(results) if read(path).method == method]


def test_the_references_are_added_and_the_text_says_what_it_is(results: Path, tmp_path: Path) -> None:
    good, _ = read_checked(record_files(results))
    packed = pack(files_of(results, "mtan"), good, tmp_path / "out", SOURCES)
    assert sorted(read(path).method for path in packed.files) == ["mtan"] * 3 + ["single_task"] * 3
    assert (packed.rows, packed.remarks) == (2, [])
    assert all(path.parent == tmp_path / "out" / "records" / "streets" for path in packed.files)
    text = (tmp_path / "out" / "PULL_REQUEST.md").read_text()
    assert "| mtan | 0 1 2 |" in text and "8 cores" in text and "6 records" in text


def test_what_a_reviewer_must_know_is_said(results: Path, tmp_path: Path) -> None:
    own = save([record("mine", "indoors", seed) for seed in range(3)], tmp_path / "own")
    packed = pack(record_files(own), [], tmp_path / "out", SOURCES)
    assert any("Not part of mtlbench: mine" in remark for remark in packed.remarks)
    assert any("No single-task networks of indoors" in remark for remark in packed.remarks)


def test_too_few_seeds_bad_records_and_full_folders_are_refused(results: Path, tmp_path: Path) -> None:
    few = files_of(results, "mtan")[:1]
    with pytest.raises(UserError, match=r"mtan on streets .* has 1 seed, and 3 or more are needed"):
        pack(few, [], tmp_path / "out", SOURCES)
    bad = save_changed(record("mtan", seed=7), lambda values: values.update(protocol_id="0" * 12), tmp_path / "bad")
    with pytest.raises(UserError, match=r"the card was edited.*Nothing was packed"):
        pack([bad], [], tmp_path / "out", SOURCES, minimum_seeds=1)
    with pytest.raises(UserError, match="mtan is another version than the one here"):
        pack(few, [], tmp_path / "out", {**SOURCES, "mtan": "1" * 16}, minimum_seeds=1)
    assert not (tmp_path / "out").exists()
    pack(few, [], tmp_path / "out", SOURCES, minimum_seeds=1)
    with pytest.raises(UserError, match="holds something already"):
        pack(few, [], tmp_path / "out", SOURCES, minimum_seeds=1)


def test_the_command_takes_rows_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = save([record("mine", seed=seed) for seed in range(3)], tmp_path / "results")
    options = ["--results", str(results), "--out"]
    assert main(["submit", "mine", *options, str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "3 records of 1 rows are fit" in out and "Not part of mtlbench: mine" in out
    assert main(["submit", str(record_files(results)[0]), *options, str(tmp_path / "other")]) == 2
    assert "has 1 seed" in capsys.readouterr().err
    assert main(["submit", "-d", "indoors", *options, str(tmp_path / "other")]) == 2
    assert "no record of indoors" in capsys.readouterr().err
