"""Full disks and folders that cannot be written to: one clear line, before training where it can be known then."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtlbench.cli.main import main
from mtlbench.errors import UserError
from mtlbench.records import read
from mtlbench.running.display import Display
from mtlbench.running.run_trial import run_trial
from mtlbench.running.scheduler import Outcome, _watch
from mtlbench.running.trial import Trial
from tests.running.reliability.injection import command, faulty
from tests.tiny import trials

NOBODY = 65534


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files cannot grow over 20 kB in this process from the call of `limit` on, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_ends_the_trial_in_one_line_and_it_goes_on_later(full_disk: None, tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    whole = run_trial(spec, tmp_path / "whole", tmp_path / "results-whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(UserError, match=r"could not be written \(File too large\): free some space") as caught:
        run_trial(spec, tmp_path / "runs", tmp_path / "results", lambda report: limit())
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("runs/*/*.tmp"))
    trained: list[int] = []
    path = run_trial(spec, tmp_path / "runs", tmp_path / "results", lambda report: trained.append(report.epoch))
    assert trained == [2, 3]
    assert read(path).result == read(whole).result


def test_a_disk_that_is_full_when_the_record_is_written_costs_no_training(full_disk: None, tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    trial = Trial(spec, tmp_path / "runs")
    assert len(list(trial.epochs())) == 3
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit()
    with pytest.raises(UserError, match="free some space"):
        run_trial(spec, tmp_path / "runs", tmp_path / "results")
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run_trial(spec, tmp_path / "runs", tmp_path / "results", lambda report: pytest.fail("trained again")).is_file()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may read and nobody but its owner may write, and this process without its owner's rights.

    Permissions do not bind root, so that its rights are put down for the test.
    """
    with tempfile.TemporaryDirectory(prefix="mtlbench-read-only-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "writable").mkdir()
        (folder / "writable").chmod(0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        else:
            folder.chmod(0o555)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def tiny(name: str, folder: Path) -> list[str]:
    """The words of a command on tiny data, prepared in a folder."""
    return command(folder, name, "-m", "hard_sharing", "-d", "streets")[3:]


@pytest.mark.parametrize("option", ["--results", "--runs", "--out"])
def test_a_read_only_folder_is_one_line_before_training(
    option: str, unprivileged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"--results": "writable/results", "--runs": "writable/runs", "--out": "writable/out", option: "read-only"}
    words = [word for name, folder in folders.items() for word in (name, str(unprivileged / folder))]
    assert main([*tiny("bench", unprivileged / "writable"), *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written to (Permission denied)" in line and option in line and "Nothing was trained" in line
    assert not list(unprivileged.glob("writable/runs/*"))


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").write_text("")
    words = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    assert main([*tiny("train", tmp_path), *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--results" in line and "cannot be written to" in line


def test_a_record_that_the_driver_cannot_write_fails_its_trial_alone(tmp_path: Path) -> None:
    """Raised inside Tune's callback, the error would end the whole sweep."""
    (spec,) = trials(tmp_path, ["hard_sharing"])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "streets").write_text("a file where the folder should be")
    outcome = Outcome()
    watch = _watch({spec.id: spec}, tmp_path / "runs", tmp_path / "results", Display(1), outcome, force=False)
    watch.on_trial_result(0, [], SimpleNamespace(), {"id": spec.id, "record": json.dumps({"id": spec.id})})
    (reason,) = outcome.failed.values()
    assert "cannot be used" in reason and "\n" not in reason
    assert not outcome.written


def test_a_fault_of_the_disk_in_a_plugin_is_one_line(full_disk: None, tmp_path: Path) -> None:
    spec = faulty(tmp_path, "fills_disk")
    with pytest.raises(UserError, match="free some space"):
        run_trial(spec, tmp_path / "runs", tmp_path / "results")
