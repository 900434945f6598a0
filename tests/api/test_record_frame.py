"""Records as data frames, and leaderboards made of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mtlbench.api import leaderboard, load_records
from mtlbench.errors import UserError
from mtlbench.records import read
from tests.leaderboard.fabricate import record, save, sweep


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = sweep(["single_task", "hard_sharing", "mtan"], ["streets", "indoors"])
    return save(records, tmp_path_factory.mktemp("records") / "results")


def test_a_frame_has_a_row_per_record_with_what_the_record_says(results: Path) -> None:
    frame = load_records(results)
    assert len(frame) == 18 and list(frame["dataset"].unique()) == ["indoors", "streets"]
    for _, row in frame.iterrows():
        record = read(Path(row["file"]))
        assert (row["record"], row["method"], row["seed"]) == (record.id, record.method, record.seed)
        assert row["test/depth/abs_err"] == record.result.test.metrics["depth"]["abs_err"]
        assert row["mean_skill"] == record.result.test.mean_skill
        assert row["parameters"] == record.result.cost.parameters["total"]
    assert frame.groupby("row")["reference"].all().to_dict() == {"hard_sharing": False, "mtan": False, "single_task": True}


def test_datasets_are_chosen_and_unknown_ones_refused(results: Path) -> None:
    assert set(load_records(results, "streets")["dataset"]) == {"streets"}
    assert set(load_records(results, ["indoors", "streets"])["dataset"]) == {"indoors", "streets"}
    with pytest.raises(UserError, match=r"no record of dataset 'street'. Did you mean 'streets'"):
        load_records(results, "street")
    with pytest.raises(UserError, match="no such folder of records"):
        load_records(results / "nothing")


def test_a_refused_file_is_named_in_a_warning(tmp_path: Path) -> None:
    folder = save([record()], tmp_path / "results")
    (folder / "streets" / "broken.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*broken.json"):
        assert len(load_records(folder)) == 1


def test_a_leaderboard_of_a_folder_and_of_its_frame_is_the_same(results: Path) -> None:
    board = leaderboard(results)
    pd.testing.assert_frame_equal(board, leaderboard(load_records(results)))
    streets = board[board["dataset"] == "streets"]
    assert set(streets["row"]) == {"single_task", "hard_sharing", "mtan"}
    assert streets["delta/task"].is_monotonic_decreasing
    assert (streets.set_index("row")["seeds"] == "0 1 2").all()


def test_chosen_rows_make_their_own_leaderboard(results: Path, tmp_path: Path) -> None:
    frame = load_records(results, "streets")
    out = tmp_path / "boards"
    board = leaderboard(frame[(frame["row"] != "mtan") & (frame["seed"] < 2)], out)
    assert set(board["row"]) == {"single_task", "hard_sharing"}
    assert (board["seeds"] == "0 1").all()
    assert (out / "index.html").is_file() and (out / "streets" / "README.md").is_file()
    assert len(list((out / "records").rglob("*.json"))) == 4, "the pages link to records that are beside them"


def test_what_is_no_frame_of_records_is_refused(results: Path) -> None:
    with pytest.raises(UserError, match="no column 'file'"):
        leaderboard(pd.DataFrame({"a": [1]}))
    with pytest.raises(UserError, match="no record in the data frame"):
        leaderboard(load_records(results).head(0))
