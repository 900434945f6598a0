"""A file that is no record does not count as one, and another trial's record is never written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.exclusive import finished_record
from mtlbench.running.finished import check_places, find_records, place_of
from mtlbench.running.run_trial import run_trial
from tests.tiny import trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def specs(folder: Path) -> list[TrialSpec]:
    return trials(folder, ["hard_sharing"], seeds=2)


@pytest.fixture(scope="module")
def record(specs: list[TrialSpec], folder: Path) -> str:
    """The first trial's."""
    return run_trial(specs[0], folder / "runs", folder / "results").read_text()


def put(text: str, spec: TrialSpec, results: Path) -> Path:
    path = place_of(spec, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_truncated_record_is_made_again(
    kept: int, record: str, specs: list[TrialSpec], folder: Path, tmp_path: Path
) -> None:
    path = put(record[: len(record) * kept // 3], specs[0], tmp_path)
    assert find_records(specs, tmp_path) == {}
    (line,) = check_places(specs, tmp_path)
    assert path.name in line and "is run again" in line
    assert run_trial(specs[0], folder / "runs", tmp_path, lambda report: pytest.fail("trained again")) == path
    assert path.read_text() == record
    assert find_records(specs, tmp_path) == {specs[0].id: path}


def test_a_record_of_another_trial_is_no_record_of_this_one_and_stops_the_sweep(
    record: str, specs: list[TrialSpec], tmp_path: Path
) -> None:
    put(record, specs[1], tmp_path)
    assert find_records(specs, tmp_path) == {}
    with pytest.raises(UserError, match=f"holds the record of trial {specs[0].id}.*--force"):
        check_places(specs, tmp_path)


def test_a_record_elsewhere_in_the_folder_counts(record: str, specs: list[TrialSpec], tmp_path: Path) -> None:
    moved = tmp_path / "2026" / specs[0].file_name()
    moved.parent.mkdir()
    moved.write_text(record)
    put("half of a rec", specs[0], tmp_path)
    assert find_records(specs, tmp_path) == {specs[0].id: moved}


def test_a_record_that_was_formatted_anew_counts(record: str, specs: list[TrialSpec], tmp_path: Path) -> None:
    path = put(json.dumps(json.loads(record)), specs[0], tmp_path)
    assert find_records(specs, tmp_path) == {specs[0].id: path}
    assert check_places(specs, tmp_path) == []


def test_a_truncated_copy_beside_the_checkpoint_is_made_again(
    record: str, specs: list[TrialSpec], folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "runs" / specs[0].id / "record.json"
    copy.parent.mkdir(parents=True)
    copy.write_text(record[:1000])
    assert finished_record(specs[0], tmp_path / "runs", keep=False) is None
    copy.write_text(record)
    assert finished_record(specs[0], tmp_path / "runs", keep=False) == record
    assert finished_record(specs[1], tmp_path / "runs", keep=False) is None
