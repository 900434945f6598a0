"""Records are found by the names that tables print."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.errors import UserError
from mtlbench.leaderboard.find_records import find
from tests.leaderboard.fabricate import record, save


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        record("mtan", seed=seed, changed=changed)
        for changed in ({}, {"width": 8, "gentle": True})
        for seed in range(2)
    ]  # fmt: skip
    return save(records, tmp_path_factory.mktemp("named") / "results")


@pytest.mark.parametrize("name", ["mtan (gentle=yes, width=8)", "mtan gentle=yes, width=8"])
def test_a_row_with_its_settings_as_pages_and_terminals_print_it(name: str, results: Path) -> None:
    records = find(results, name)
    assert [record.changed for record in records] == [{"width": 8, "gentle": True}] * 2


def test_a_name_of_two_rows_is_refused_and_unknown_settings_are_hinted_at(results: Path) -> None:
    with pytest.raises(UserError, match="'mtan' names 2 rows"):
        find(results, "mtan")
    with pytest.raises(UserError, match=r"Did you mean 'mtan \(gentle=yes, width=8\)'"):
        find(results, "mtan (gentle=no, width=8)")
