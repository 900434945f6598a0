"""Records that contradict others are left out by name."""

from __future__ import annotations

from pathlib import Path

from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.loading import read_checked
from tests.leaderboard import fabricate


def test_of_several_files_with_one_id_the_first_created_counts(tmp_path: Path) -> None:
    first, second = fabricate.record(created="2025-01-01"), fabricate.record(created="2025-02-01")
    assert first.id == second.id
    fabricate.save([second], tmp_path / "a")
    fabricate.save([first], tmp_path / "b")
    fabricate.save([first], tmp_path / "copy")
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert [record.provenance.created for _, record in good] == ["2025-01-01"]
    (line,) = refused
    assert line.startswith(str(tmp_path / "a")) and first.id in line and str(tmp_path / "b") in line


def test_one_protocol_describes_its_tasks_in_one_way(tmp_path: Path) -> None:
    fabricate.save(fabricate.sweep(["mtan"]), tmp_path)
    odd = fabricate.record("pcgrad", created="2024-01-01").model_copy(deep=True)
    odd.tasks[1].metrics[1].unit = "km"
    fabricate.save([odd], tmp_path)
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert {record.method for _, record in good} == {"mtan"} and len(good) == 3
    (line,) = refused
    assert odd.id in line and "3 records of the same protocol" in line
    # As many on both sides: the earlier ones count.
    for path, _ in good[1:]:
        path.unlink()
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert [record.method for _, record in good] == ["pcgrad"] and len(refused) == 1


def test_a_method_that_shares_is_never_what_delta_is_measured_against(tmp_path: Path) -> None:
    records = [record.model_copy(deep=True) for record in fabricate.sweep(["single_task", "pcgrad"], seeds=4)]
    for record in records:
        record.reference = True
    fabricate.save(records, tmp_path)
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert len(refused) == 4 and all("pcgrad shares parameters" in line for line in refused)
    reference = boards(record for _, record in good)[0].tables[0].reference
    assert reference is not None and reference.name == "single_task"
